import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skmdp._messages import NAMES_LENGTH, VALUE_LENGTH, quoted, shortened, shown

ABSURD = [
    "a" * 10**7,
    b"a" * 10**7,
    10**5000,
    ("a" * 100, ("b" * 100, ["c" * 100] * 10)) * 10,
    list(range(10**5)),
    dict.fromkeys(range(1000), "d" * 100),
    np.arange(10.0**5).reshape(-1, 10),
    "\ud800\n\t\0" * 1000,
    type("Loud", (), {"__repr__": lambda _: "loud\n" * 10**5})(),
    type("Broken", (), {"__repr__": lambda _: 1 / 0})(),
]


@pytest.mark.parametrize(
    "value", ["low", "it's", 3, -0.5, True, b"\0", None, (1, "a"), datetime.date(2026, 3, 1)]
)
def test_short_values_are_written_as_python_would(value):
    assert shown(value) == repr(value)


def test_scalars_of_numpy_are_written_as_those_of_python():
    assert [shown(np.float32(0.5)), shown(np.int8(3)), shown(np.str_("a"))] == ["0.5", "3", "'a'"]
    assert "2026-03-01" in shown(np.datetime64("2026-03-01", "ns"))


@pytest.mark.parametrize("case", range(len(ABSURD)))  # pytest would write the values themselves
def test_no_value_takes_more_than_its_share_of_a_message(case):
    value = ABSURD[case]
    for written in (shown(value), quoted([value]), quoted([value] * 1000)):
        assert len(written) <= NAMES_LENGTH + 30
        assert written.isprintable()
    assert len(shown(value)) <= VALUE_LENGTH


@given(st.lists(st.one_of(st.text(max_size=100), st.integers(), st.tuples(st.text())), min_size=1))
def test_of_many_names_the_first_are_written_and_the_others_counted(names):
    written = quoted(names)
    assert len(written) <= NAMES_LENGTH + 30
    assert written.startswith(shown(names[0]))
    listed, _, rest = written.partition(", ... and ")
    n_more = int(rest.split()[0]) if rest else 0
    assert listed == ", ".join(map(shown, names[: len(names) - n_more]))


def test_many_names_are_counted_with_a_separator():
    assert quoted(["a"] * 50_000).endswith("... and 49,976 more")
    assert quoted(["a", 3]) == "'a', 3"
    assert quoted([]) == ""


def test_messages_of_others_are_cut_to_one_line():
    assert shortened("one\n two") == "one two"
    assert shortened("x" * 1000) == "x" * 117 + "..."
    assert shortened(ValueError("y" * 120)) == "y" * 120

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skmdp._messages import NAMES_LENGTH, VALUE_LENGTH, quoted, shortened, shown, told_apart

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
    assert shortened("x" * 1000) == "x" * 59 + "..." + "x" * 58
    assert shortened(ValueError("y" * 120)) == "y" * 120


def test_what_is_long_lacks_its_middle():
    assert shortened("begins alike" + "-" * 200 + "ends in 7", 20) == "begins al...nds in 7"
    assert shortened("a" * 10**7 + "end", 9) == "aaa...end"


@given(st.text(), st.integers(4, 60))
def test_a_shortened_text_begins_and_ends_as_the_text(text, length):
    written, line = shortened(text, length), " ".join(text.split())
    assert len(written) <= length
    begins, _, ends = written.rpartition("...") if written != line else (line, "", "")
    assert line.startswith(begins)
    assert line.endswith(ends)


def test_texts_with_one_beginning_and_one_end_show_where_they_differ():
    texts = [f"{'a' * 60}{middle}{'z' * 60}" for middle in ("cold", "warm")]
    cold, warm = told_apart(texts, 20)
    assert "cold" in cold
    assert "warm" in warm
    assert told_apart(["x" * 60, "x" * 60 + "y"], 12) == ["xxxxx...xxxx", "xxxxx...xxxy"]


def test_texts_that_differ_in_spaces_only_are_numbered():
    assert told_apart(["a b", "a\nb", "a  b (1)", "c"], 20) == [
        "a b (2)",
        "a b (3)",
        "a b (1)",
        "c",
    ]
    assert told_apart(["", " ", "x"], 20) == ["'' (1)", "'' (2)", "x"]


LONG = st.builds(
    lambda start, middle, end: start * 50 + middle + end * 50, *[st.text("ab", max_size=2)] * 3
)


@given(st.lists(st.one_of(st.text(" \nab(12)", max_size=9), LONG), max_size=12), st.integers(9, 30))
def test_no_two_texts_are_written_alike(texts, length):
    written = told_apart(texts, length)
    assert len(set(written)) == len(texts)
    assert all(0 < len(one) <= length for one in written)
    for one, text in zip(written, texts, strict=True):
        line = " ".join(text.split())
        if len(line) <= length and texts.count(text) == 1 == [*map(str.split, texts)].count(
            text.split()
        ):
            assert one == (line or "''")

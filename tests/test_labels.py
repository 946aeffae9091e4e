import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skmdp._log.index import index_labels
from skmdp._log.kinds import read_labels
from skmdp._log.labels import (
    MISSING,
    UNKNOWN,
    LabelColumn,
    require_no_missing,
)

DAY = datetime.date(2026, 3, 1)
NOON = datetime.datetime(2026, 3, 1, 12)
KINDS = {
    "int": [3, -1, 3, 2],
    "float": [0.5, -1.5, 0.5, 2.0],
    "str": ["b", "a", "b", "ü"],
    "bool": [True, False, True, True],
    "bytes": [b"b", b"a\0", b"b", b"a"],
    "date": [DAY, DAY - datetime.timedelta(1), DAY, DAY + datetime.timedelta(1)],
    "datetime": [NOON, NOON - datetime.timedelta(1), NOON, NOON + datetime.timedelta(1)],
}


def read(labels, name="state", dtype=None):
    return read_labels(pd.Series(labels, dtype=dtype), name)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_sort_and_come_back(kind):
    labels = KINDS[kind]
    index, (codes,) = index_labels([read(labels, dtype=object)])
    expected = sorted(set(labels))
    assert index.kinds == (kind,)
    assert index.python_labels(np.arange(len(index))) == expected
    assert_array_equal(codes, [expected.index(label) for label in labels])
    assert_array_equal(index.encode([read(labels)]), codes)


@pytest.mark.parametrize(
    ("dtype", "labels"),
    [
        ("Int64", KINDS["int"]),
        ("int8", KINDS["int"]),
        ("Float64", KINDS["float"]),
        ("float32", KINDS["float"]),
        ("boolean", KINDS["bool"]),
        ("string", KINDS["str"]),
        ("str", KINDS["str"]),
        ("category", KINDS["str"]),
        ("category", KINDS["int"]),
        (pd.ArrowDtype(pa.int32()), KINDS["int"]),
        (pd.ArrowDtype(pa.string()), KINDS["str"]),
        (pd.ArrowDtype(pa.bool_()), KINDS["bool"]),
        (pd.ArrowDtype(pa.binary()), KINDS["bytes"]),
        (pd.ArrowDtype(pa.date32()), KINDS["date"]),
        (pd.ArrowDtype(pa.timestamp("us")), KINDS["datetime"]),
        ("datetime64[ns]", KINDS["datetime"]),
        ("datetime64[s]", KINDS["datetime"]),
    ],
)
def test_dtypes_of_one_kind_give_the_same_labels(dtype, labels):
    index, (codes,) = index_labels([read(labels, dtype=dtype)])
    plain, (plain_codes,) = index_labels([read(labels, dtype=object)])
    assert index.kinds == plain.kinds
    assert_array_equal(codes, plain_codes)
    assert_array_equal(index.labels, plain.labels)


def test_missing_labels_of_every_sort_are_missing():
    for series in (
        pd.Series(["a", None]),
        pd.Series(["a", np.nan], dtype=object),
        pd.Series([1.0, np.nan]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([NOON, pd.NaT]),
        pd.Series(["a", None], dtype="category"),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([[1.0, float("nan")]]))),
    ):
        column = read_labels(series, "state")
        assert_array_equal(column.codes, [0, MISSING])
        with pytest.raises(ValueError, match=r"'state' contains NaN or None in 1 row.*row 1"):
            require_no_missing(column)


def test_float32_labels_are_the_decimals_they_name():
    index, _ = index_labels([read(np.array([0.1, 0.2], dtype=np.float32))])
    assert_array_equal(index.encode([read([0.2, 0.1])]), [1, 0])


def test_fractions_beside_large_integers_are_refused():
    with pytest.raises(
        ValueError, match=r"900719925474099\d \(row [01], .*beside fractions.*strings"
    ):
        read([2**53, 2**53 + 1, 0.5], dtype=object)


def test_dates_beside_datetimes_are_refused():
    with pytest.raises(TypeError, match=r"2026, 3, 1, 12, 0\) \(row 1, .* beside dates without"):
        read([DAY, NOON], dtype=object)
    aware = NOON.replace(tzinfo=datetime.UTC)
    with pytest.raises(TypeError, match=r"12, 0\) \(row 0, .* without a time zone beside"):
        read([NOON, aware], dtype=object)


def test_negative_zero_is_zero_on_every_backend():
    arrow = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([[0.0, -0.0]])))
    for series in (pd.Series([0.0, -0.0]), arrow):
        _, (codes,) = index_labels([read_labels(series, "state")])
        assert_array_equal(codes, [0, 0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"], r"argument must be .* string.* number.*int \(row 0: 1\).*str \(row 1: 'a'\)"),
        ([True, 1], r"uniformly strings or numbers.*bool.*int"),
        ([None, {"a": 1}], r"dict \(row 1"),
        ([(0, 1), [1, 1]], r"tuple \(row 0: \(0, 1\)\), list \(row 1"),
        ([[0], [1]], r"list \(row 0"),
    ],
)
def test_mixed_or_unhashable_labels_are_refused(labels, message):
    with pytest.raises(TypeError, match=message):
        read(pd.Series(labels, dtype=object))


def test_mixed_categories_are_refused():
    with pytest.raises(TypeError, match="uniformly strings or numbers"):
        read(pd.Categorical([1, "a"]))


def test_other_dtypes_are_refused_by_name():
    lists = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([[[1], [2]]])))
    with pytest.raises(TypeError, match=r"cannot be hashed.*use one column for each"):
        read_labels(lists, "state")
    with pytest.raises(ValueError, match="Complex data not supported"):
        read([1j, 2j])


def test_infinity_is_no_label():
    with pytest.raises(ValueError, match=r"infinity \(inf\), first at row 1"):
        read([0.5, np.inf])


def test_integers_beyond_int64_are_refused():
    with pytest.raises(ValueError, match=r"9223372036854775808.*exceeds 64 bits"):
        read(np.array([2**63], dtype=np.uint64))
    with pytest.raises(ValueError, match=r"-1180591620717411303424.*exceeds 64 bits"):
        read([-(2**70), 0], dtype=object)


def test_integer_states_meet_float_next_states():
    state, following = read([1, 2]), read([2.0, np.nan], "next_state")
    index, (codes, next_codes) = index_labels([state], [following])
    assert index.columns[0].dtype == np.int64
    assert_array_equal(codes, [0, 1])
    assert_array_equal(next_codes, [1, MISSING])


def test_fractions_among_integers_are_refused_in_fit_and_unknown_later():
    with pytest.raises(ValueError, match=r"'next_state' holds 2.5 \(row 1.*holds integers only"):
        index_labels([read([1, 2])], [read([2.0, 2.5], "next_state")])
    index, _ = index_labels([read([1, 2])])
    assert_array_equal(index.encode([read([2.0, 2.5])]), [1, UNKNOWN])


def test_large_integers_through_float_are_refused():
    with pytest.raises(ValueError, match=r"'next_state' holds 9007199254740992.0 \(row 0.*Int64"):
        index_labels([read([1, 2])], [read([2.0**53, np.nan], "next_state")])
    exact = read([2**53, None], "next_state", dtype="Int64")
    index, _ = index_labels([read([2**53 + 1, 1])], [exact])
    assert list(index.columns[0]) == [1, 2**53, 2**53 + 1]


def test_integers_meet_float_states():
    index, _ = index_labels([read([0.5, 2.0])])
    assert_array_equal(index.encode([read([2, 3])]), [1, UNKNOWN])


def test_nan_of_arrow_is_missing_among_integers():
    arrow = pd.Series(pa.array([2.0, float("nan"), None, 1.0]), dtype=pd.ArrowDtype(pa.float64()))
    index, (_, next_codes) = index_labels([read([1, 2])], [read_labels(arrow, "next_state")])
    assert_array_equal(next_codes, [1, MISSING, MISSING, 0])
    assert_array_equal(index.labels, [1, 2])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_short_floats_are_the_numbers_they_print(dtype):
    index, _ = index_labels([read([0.1, 2.5], dtype=dtype)])
    assert_array_equal(index.labels, [0.1, 2.5])


def test_strings_never_match_integers():
    with pytest.raises(
        TypeError, match=r"'next_state' holds labels of kind 'str' \(first value '1'"
    ):
        index_labels([read([1, 2])], [read(["1", "2"], "next_state")])


def test_an_empty_side_takes_the_kind_of_the_other():
    for labels in ([1, 2], ["a", "b"], [NOON, NOON]):
        index, (_, next_codes) = index_labels([read(labels)], [read([np.nan, np.nan], "next")])
        assert index.columns[0].dtype == index_labels([read(labels)])[0].columns[0].dtype
        assert_array_equal(next_codes, [MISSING, MISSING])


def test_take_drops_labels_that_no_longer_occur():
    column = read(["a", "b", "c"]).take(np.array([2, -1, 2]))
    assert_array_equal(column.codes, [0, MISSING, 0])
    assert_array_equal(column.values, ["c"])


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from("abc"), st.booleans()), min_size=1))
def test_states_of_several_columns_sort_as_tuples(rows):
    def columns(tuples):
        return [read([row[j] for row in tuples], f"c{j}") for j in range(3)]

    index, (codes,) = index_labels(columns(rows))
    expected = sorted(set(rows))
    assert index.python_labels(np.arange(len(index))) == expected
    assert [tuple(label) for label in index.labels] == expected
    assert_array_equal(codes, [expected.index(row) for row in rows])
    assert_array_equal(index.encode(columns(rows)), codes)
    assert_array_equal(index.encode(index.as_columns()), np.arange(len(index)))
    absent = [(9, "a", True), (rows[0][0], "z", True), rows[0]]
    assert_array_equal(index.encode(columns(absent)), [UNKNOWN, UNKNOWN, codes[0]])


def test_several_columns_with_missing_next_states():
    state = [read([0, 1], "x"), read(["a", "b"], "y")]
    following = [read([1.0, np.nan], "next_x"), read(["b", None], "next_y")]
    index, (codes, next_codes) = index_labels(state, following)
    assert [tuple(label) for label in index.labels] == [(0, "a"), (1, "b")]
    assert_array_equal(codes, [0, 1])
    assert_array_equal(next_codes, [1, MISSING])


def test_many_columns_never_overflow():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2**40, size=(50, 6))
    columns = [read(table[:, j], f"c{j}") for j in range(6)]
    index, (codes,) = index_labels(columns)
    assert [tuple(map(int, index.labels[code])) for code in codes] == [
        tuple(map(int, row)) for row in table
    ]


def test_label_names_one_state():
    index, _ = index_labels([read([0, 1], "x"), read(["a", "b"], "y")])
    assert index.label(1) == (1, "b")
    assert index_labels([read(["a"])])[0].label(0) == "a"


@pytest.mark.parametrize("kind", KINDS)
def test_backends_agree(kind):
    from skmdp._log.reading import label_codes

    labels = KINDS[kind]
    expected = [labels.index(label) for label in labels]
    first_seen = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    expected = [first_seen[label] for label in labels]
    for column in (pd.Series(labels), pl.Series(labels), pa.chunked_array([labels]), labels):
        assert_array_equal(label_codes(column, "state"), expected)


def test_dictionaries_go_by_value():
    from skmdp._log.frames import as_frame
    from skmdp._log.reading import read_state_columns

    for table in (
        pa.table({"state": pa.array([7, 5, 7]).dictionary_encode()}),
        pl.DataFrame({"state": ["7", "5", "7"]}, schema={"state": pl.Categorical}),
        pl.DataFrame({"state": ["7", "5", "7"]}, schema={"state": pl.Enum(["7", "6", "5"])}),
    ):
        index, (codes,) = index_labels(read_state_columns(as_frame(table), ["state"]))
        assert_array_equal(codes, [1, 0, 1])
        assert [str(label) for label in index.labels] == ["5", "7"]


def test_polars_without_pyarrow(monkeypatch):
    import narwhals.stable.v2 as nw

    from skmdp._log.reading import label_codes

    def refuse(self):
        raise ModuleNotFoundError("pyarrow")

    monkeypatch.setattr(nw.Series, "to_arrow", refuse)
    for labels in (["b", None, "a"], [2, None, 1], [0.5, None, 1.5], [True, None, False]):
        column = pl.Series(labels).drop_nulls()
        assert_array_equal(label_codes(column, "state"), [0, 1])
        with pytest.raises(ValueError, match="contains NaN or None"):
            label_codes(pl.Series(labels), "state")


def test_column_names_the_first_bad_row():
    column = LabelColumn("c", "int", np.array([1, MISSING, 0, 1]), np.array([5, 6]))
    assert column.row_of(np.array([True, False])) == 2

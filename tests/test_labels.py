import datetime
import decimal
import uuid
import zoneinfo

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
    is_time,
    require_no_missing,
)

DAY = datetime.date(2026, 3, 1)
NOON = datetime.datetime(2026, 3, 1, 12)
HOUR = datetime.timedelta(hours=1)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
KINDS = {
    "int": [3, -1, 3, 2],
    "float": [0.5, -1.5, 0.5, 2.0],
    "str": ["b", "a", "b", "ü"],
    "bool": [True, False, True, True],
    "bytes": [b"b", b"a\0", b"b", b"a"],
    "date": [DAY, DAY - datetime.timedelta(1), DAY, DAY + datetime.timedelta(1)],
    "datetime": [NOON, NOON - datetime.timedelta(1), NOON, NOON + datetime.timedelta(1)],
    "datetime in Europe/Berlin": [
        pd.Timestamp(NOON + hours * HOUR, tz=BERLIN) for hours in (5, -5, 5, 0)
    ],
    "time": [datetime.time(12), datetime.time(0, 30), datetime.time(12), datetime.time(23, 59)],
    "timedelta": [HOUR, -HOUR, HOUR, 999 * HOUR],
    "decimal": [decimal.Decimal(text) for text in ("1.10", "-3.00", "1.10", "0.25")],
    "period of frequency M": [pd.Period(f"2026-{month}", "M") for month in (3, 1, 3, 2)],
    "interval of numbers, closed left": [
        pd.Interval(left, left + 0.5, closed="left") for left in (0.5, -1.0, 0.5, 7.0)
    ],
    "interval of Timestamp, closed right": [
        pd.Interval(pd.Timestamp(NOON), pd.Timestamp(NOON) + hours * HOUR) for hours in (3, 1, 3, 2)
    ],
    "UUID": [uuid.UUID(int=number) for number in (2**127, 1, 2**127, 0)],
    "tuple of numbers and str": [("b", 1), ("a", 2), ("b", 1), ("a", -2)],
    "tuple of numbers and tuple": [(decimal.Decimal(n), (n, "x")) for n in (2, 1, 2, 3)],
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
        ("datetime64[ns, Europe/Berlin]", KINDS["datetime in Europe/Berlin"]),
        ("category", KINDS["datetime in Europe/Berlin"]),
        (pd.ArrowDtype(pa.timestamp("us", "Europe/Berlin")), KINDS["datetime in Europe/Berlin"]),
        ("timedelta64[ns]", KINDS["timedelta"]),
        ("category", KINDS["timedelta"]),
        (pd.ArrowDtype(pa.duration("us")), KINDS["timedelta"]),
        (pd.ArrowDtype(pa.time64("us")), KINDS["time"]),
        (pd.ArrowDtype(pa.decimal128(5, 2)), KINDS["decimal"]),
        ("period[M]", KINDS["period of frequency M"]),
        ("category", KINDS["period of frequency M"]),
        ("interval", KINDS["interval of numbers, closed left"]),
        ("category", KINDS["interval of numbers, closed left"]),
        ("category", KINDS["UUID"]),
        ("category", KINDS["tuple of numbers and str"]),
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


def test_types_of_arrow_that_pandas_lacks():
    from skmdp._log.reading import label_codes

    runs = pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["b", "a"]))
    assert_array_equal(label_codes(pa.chunked_array([runs]), "state"), [0, 0, 1])
    series = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([runs])))
    assert_array_equal(read_labels(series, "state").codes, [0, 0, 1])


def test_infinity_is_no_label():
    with pytest.raises(ValueError, match=r"infinity \(inf\), first at row 1"):
        read([0.5, np.inf])


def test_integers_beyond_int64_are_refused():
    with pytest.raises(ValueError, match=r"9223372036854775808.*exceeds 64 bits"):
        read(np.array([2**63], dtype=np.uint64))
    with pytest.raises(ValueError, match=r"-1180591620717411303424.*exceeds 64 bits"):
        read([-(2**70), 0], dtype=object)


def test_the_bounds_of_exactness_are_exact():
    for extreme in (2**63 - 1, -(2**63)):
        column = read([extreme, 0], dtype=object)
        assert column.values.tolist() == [extreme, 0]
        with pytest.raises(ValueError, match="exceeds 64 bits"):
            read([extreme + np.sign(extreme).item(), 0], dtype=object)
    assert read(np.array([2**63 - 1], dtype=np.uint64)).values.tolist() == [2**63 - 1]
    for sign in (-1, 1):
        assert read([sign * (2**53 - 1), 0.5], dtype=object).values[0] == sign * (2**53 - 1)
        with pytest.raises(ValueError, match="beside fractions"):
            read([sign * 2**53, 0.5], dtype=object)
        large = read([sign * 2.0**53], "next_state")
        with pytest.raises(ValueError, match="no longer exact"):
            index_labels([read([1])], [large])
        index, _ = index_labels([read([1])], [read([sign * (2.0**53 - 1)], "next_state")])
        assert sign * (2**53 - 1) in index.labels
    floats = read([2.0**60, 0.5, 1e308, -1e308], dtype=object)  # no integer is among them
    assert index_labels([floats])[0].labels.tolist() == [-1e308, 0.5, 2.0**60, 1e308]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, (np.nan,), (1, (pd.NA,))])
def test_tuples_have_no_missing_parts(missing):
    with pytest.raises(ValueError, match=r"\(row 1, .* a tuple with a missing part"):
        read([(1, "a"), (2, missing)], dtype=object)


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


@pytest.mark.parametrize("kind", ["int", "str", "bytes", "date", "time", "timedelta", "decimal"])
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


# ----------------------------------------------------------------------------- what labels are like


def test_times_are_told_from_other_labels():
    words = {kind.split()[0] for kind in KINDS if is_time(kind)}
    assert words == {"date", "datetime", "time", "timedelta", "period"}
    assert all(is_time(kind) for kind in KINDS if kind.split()[0] in words)


def test_arrays_of_labels_are_the_natural_ones():
    types = {"int": "i", "float": "f", "bool": "b", "datetime": "M", "timedelta": "m"}
    for kind, labels in KINDS.items():
        index, _ = index_labels([read(labels, dtype=object)])
        assert index.labels.dtype.kind == types.get(kind, "O")
        assert index.labels.shape == (len(set(labels)),)
        two, _ = index_labels([read(labels, "a"), read(labels, "b")])
        assert two.labels.shape == (len(set(labels)), 2)
        assert two.labels.dtype == object
        assert [tuple(row) for row in two.labels] == [(label, label) for label in two.labels[:, 0]]


@given(
    st.lists(
        st.tuples(
            st.decimals(-9, 9, places=1),
            st.timedeltas(-HOUR, HOUR),
            st.tuples(st.integers(-1, 1), st.sampled_from("ab")),
            st.uuids(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_labels_of_odd_kinds_sort_as_python_sorts_them(rows):
    for part in zip(*rows, strict=True):
        index, (codes,) = index_labels([read(pd.Series(list(part), dtype=object))])
        expected = sorted(set(part))
        assert index.python_labels(np.arange(len(index))) == expected
        assert_array_equal(codes, [expected.index(label) for label in part])


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC", "America/St_Johns"])
def test_an_instant_is_the_same_label_in_every_zone(zone):
    labels = pd.Series(KINDS["datetime in Europe/Berlin"])
    index, (codes,) = index_labels([read_labels(labels, "state")])
    elsewhere = labels.dt.tz_convert(zone)
    for other in (elsewhere, elsewhere.astype(object), elsewhere.astype("category")):
        assert_array_equal(index.encode([read_labels(other, "state")]), codes)
    both, (_, next_codes) = index_labels(
        [read_labels(labels, "state")], [read_labels(elsewhere + 99 * HOUR, "next_state")]
    )
    assert {str(label.tzinfo) for label in both.labels} == {"Europe/Berlin"}
    assert_array_equal(both.labels[next_codes], labels + 99 * HOUR)
    naive = read_labels(labels.dt.tz_localize(None), "state")
    with pytest.raises(TypeError, match="'datetime in Europe/Berlin'; labels of different kinds"):
        index.encode([naive])


def test_zones_that_differ_or_have_no_name_come_back_in_utc():
    nameless = type("Zone", (datetime.tzinfo,), {"utcoffset": lambda *_: HOUR})()
    tokyo = zoneinfo.ZoneInfo("Asia/Tokyo")
    for zones in ((BERLIN, tokyo), (nameless, nameless)):
        labels = [NOON.replace(tzinfo=zone) + HOUR * i for i, zone in enumerate(zones)]
        index, _ = index_labels([read(labels, dtype=object)])
        assert index.python_labels(np.arange(2)) == sorted(labels)
        assert {str(label.tzinfo) for label in index.labels} == {"UTC"}
    fixed = NOON.replace(tzinfo=datetime.timezone(HOUR))
    assert index_labels([read([fixed], dtype=object)])[0].label(0).utcoffset() == HOUR


def test_times_keep_nanoseconds_and_far_years():
    fine = [pd.Timestamp(1), pd.Timestamp(2)]
    assert index_labels([read(fine)])[0].python_labels(np.arange(2)) == fine
    pair = index_labels([read(fine, "a"), read([HOUR, HOUR], "b")])[0]
    assert pair.labels.tolist() == [[fine[0], HOUR], [fine[1], HOUR]]
    ticks = [pd.Timedelta(1), pd.Timedelta(2)]
    assert index_labels([read(ticks)])[0].python_labels(np.arange(2)) == ticks
    far = [datetime.datetime(2, 1, 1), datetime.datetime(9999, 1, 1)]
    assert index_labels([read(far, dtype=object)])[0].labels.tolist() == far
    long = [datetime.timedelta(-999_999), datetime.timedelta(999_999)]
    assert index_labels([read(long, dtype=object)])[0].labels.tolist() == long


@pytest.mark.parametrize(
    "zero",
    [
        -0.0,
        np.float32(-0.0),
        np.float16(-0.0),
        decimal.Decimal("-0"),
        decimal.Decimal("-0.00"),
    ],
)
def test_negative_zero_never_shows(zero):
    index, _ = index_labels([read([zero, zero + 1], dtype=object)])
    assert str(index.labels[0]).startswith("0")
    assert not np.signbit(float(index.labels[0]))


def test_intervals_that_pandas_made_floats_are_the_same_labels():
    state = pd.Series(pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]))
    following = state.shift(-1)
    assert following.dtype != state.dtype
    index, (codes, next_codes) = index_labels(
        [read_labels(state, "state")], [read_labels(following, "next_state")]
    )
    assert_array_equal(index.labels, state)
    assert_array_equal(codes, [0, 1, 2])
    assert_array_equal(next_codes, [1, 2, MISSING])


def test_cut_measurements_are_labels():
    measured = np.random.default_rng(0).normal(size=200)
    state = pd.Series(pd.cut(measured, [-np.inf, -1, 0, 1, np.inf]))
    index, (codes,) = index_labels([read_labels(state, "state")])
    assert_array_equal(codes, np.digitize(measured, [-1, 0, 1], right=True))
    assert_array_equal(index.labels, state.cat.categories)
    quarters = pd.cut(measured, [-9, -1, 0, 1, 9])
    with pytest.raises(TypeError, match="'interval of numbers, closed right'"):
        index.encode([read_labels(pd.Series(measured), "state")])
    assert (index.encode([read_labels(pd.Series(quarters), "state")]) == UNKNOWN).any()


def test_missing_labels_of_odd_kinds_are_missing():
    for labels in KINDS.values():
        column = read([labels[0], None], dtype=object)
        assert_array_equal(column.codes, [0, MISSING])
        index, (_, next_codes) = index_labels(
            [read(labels, dtype=object)], [read([None] * 4, "next_state", dtype=object)]
        )
        assert (next_codes == MISSING).all()
        assert len(index) == len(set(labels))


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_labels_of_two_kinds_are_never_matched(one, other):
    index, _ = index_labels([read(KINDS[one], dtype=object)])
    column = read(KINDS[other], dtype=object)
    if one == other:
        assert (index.encode([column]) != UNKNOWN).all()
    elif {one, other} == {"int", "float"}:
        assert index.encode([column]).tolist() == [
            sorted(set(KINDS[one])).index(label) if label in KINDS[one] else UNKNOWN
            for label in KINDS[other]
        ]
    else:
        with pytest.raises(TypeError, match="labels of different kinds cannot be matched"):
            index.encode([column])


def test_integers_of_128_bits():
    from skmdp._log.reading import label_codes

    column = pl.Series([2, 1, 2]).cast(pl.Int128)
    assert_array_equal(label_codes(column, "state"), [0, 1, 0])
    with pytest.raises(ValueError, match=r"holds 1267650600228229401496703205376 \(row 1"):
        label_codes(pl.Series([1, 2**100], dtype=pl.Int128), "state")


def test_arrays_of_bytes_are_labels():
    array = np.array([b"b", b"a", b"b"])
    index, (codes,) = index_labels([read_labels(pd.Series(array), "state")])
    assert index.kinds == ("bytes",)
    assert index.labels.tolist() == [b"a", b"b"]
    assert_array_equal(codes, [1, 0, 1])


def test_a_list_of_tuples_is_a_column():
    from skmdp._log.reading import read_state_labels

    for labels in (KINDS["tuple of numbers and str"], tuple(KINDS["tuple of numbers and str"])):
        assert_array_equal(read_state_labels(labels, "state").codes, [0, 1, 0, 2])


def test_tuples_of_several_lengths_are_found_as_they_are():
    histories = [(1,), (1, 2), (1, 2, 3), (2,)]
    index, (codes,) = index_labels([read(histories, dtype=object)])
    assert_array_equal(codes, [0, 1, 2, 3])
    asked = read([(1, 2), (2,), (2, 1), (1, 2, 3)], dtype=object)
    assert_array_equal(index.encode([asked]), [1, 3, UNKNOWN, 2])


def test_lists_are_read_label_by_label():
    from skmdp._log.reading import read_state_labels

    for labels in (["a\ud800"], np.array(["a\ud800"], dtype=object)):
        with pytest.raises(ValueError, match=r"holds 'a\\ud800' \(row 0, .*a lone surrogate"):
            read_state_labels(labels, "state")

    with pytest.raises(TypeError, match=r"bool \(row 0: True\), int \(row 1: 2\)"):
        read_state_labels([True, 2], "state")
    with pytest.raises(ValueError, match=r"9007199254740993 \(row 1, .*beside fractions"):
        read_state_labels([0.5, 2**53 + 1], "state")
    assert read_state_labels([], "state").kind == "str"


def test_bad_categories_are_named_by_their_row():
    labels = pd.Series(pd.Categorical(["b", 1, "b"], categories=[1, "b"]))
    with pytest.raises(TypeError, match=r"got str \(row 0: 'b'\), int \(row 1: 1\)"):
        read_labels(labels, "state")
    with pytest.raises(TypeError, match=r"int \(row 0: 1\), str \(row 1: 'a'\) and 2 more; rows"):
        read([1, "a", b"b", 0.5], dtype=object)

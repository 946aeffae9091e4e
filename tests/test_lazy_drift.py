"""Lazy tables: rewards that change over time are noticed there as well, and traits of episodes."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engines import ENGINES, HERE, NOISE, QUICK, polars_lazy
from test_same_time import shocks

import skmdp._log.engines
import skmdp._log.steps
from skmdp import MarkovPolicyCV
from skmdp.metrics import compare_policies, evaluate_policy

pytestmark = [pytest.mark.filterwarnings(noise) for noise in NOISE]

N_LOGS = 20


@pytest.fixture(params=HERE)
def engine(request):
    """A function from a table of pandas to a lazy one."""
    make = ENGINES[request.param]
    return lambda table: make(pa.Table.from_pandas(table, preserve_index=False))


def lazily(table):
    return polars_lazy(pa.Table.from_pandas(table, preserve_index=False))


def draw(
    seed,
    *,
    rises=0.0,
    falls=0.0,
    better=0.0,
    trait=0.0,
    spreads=True,
    n=150,
    longest=24,
    shortest=None,
):
    """Draw a panel of ``n`` machines over ``longest`` months, rows out of order.

    Records break off after the last month, or from the month ``shortest`` on. Rewards rise with the
    months by ``rises`` and from machine to machine by ``falls``, and one of two actions spreads. A
    hidden ``trait`` of each machine makes one action pay more in all of its rows, the other less.
    """
    rng = np.random.default_rng(seed)
    length = rng.integers(longest if shortest is None else shortest, longest + 1, n)
    episode = np.repeat(np.arange(n), length)
    step = np.arange(len(episode)) - np.repeat(np.cumsum(length) - length, length)
    t, i = step / longest, episode / n
    is_new = rng.random(len(t)) < (0.1 + 0.4 * t + 0.4 * i if spreads else 0.5)
    state, following = rng.integers(2, size=(2, len(t)))
    is_last = np.append(step[1:] == 0, True)
    following = np.where(is_last, following, np.roll(state, -1))
    hidden = trait * rng.normal(size=n)[episode] * np.where(is_new, 1, -1)
    reward = rises * t + falls * i + better * is_new + hidden + rng.normal(size=len(t))
    table = pd.DataFrame({"episode": [f"m{i:05d}" for i in episode], "step": step})
    table = table.assign(
        state=np.where(state, "worn", "good"),
        next_state=np.where(following, "worn", "good"),
        action=np.where(is_new, "new", "old"),
        reward=reward,
    )
    return table.sample(frac=1, random_state=seed)


def in_order(table):
    return table.sort_values(["episode", "step"], kind="stable")


def judge(X, policy="new"):
    return evaluate_policy(policy, X, methods="dm")


def flagged(table, flag):
    """Mark the last rows of some machines, of which then nothing follows."""
    is_last = table.groupby("episode")["step"].transform("max") == table["step"]
    return table.assign(**{flag: is_last & (table["episode"] < "m00050")})


def with_last_observations(table):
    is_last = table.groupby("episode")["step"].transform("max") == table["step"]
    seen = {name: table[name].mask(is_last) for name in ("action", "reward")}
    return inferred(flagged(table, "terminated").assign(**seen))


def inferred(table):
    return table.drop(columns="next_state")


def left_out(table):
    """Leave out the next state where the record broke off."""
    table = flagged(table, "truncated")
    return table.assign(next_state=table["next_state"].mask(table["truncated"]))


def uneven(seed, **options):
    return draw(seed, shortest=8, **{"rises": 1.5, **options})


CASES = {
    "months": draw(0, rises=1.5),
    "machines": draw(1, falls=1.5),
    "both": draw(2, rises=1.0, falls=1.0),
    "neither": draw(3),
    "uneven": uneven(4),
    "inferred": inferred(uneven(5)),
    "gaps": uneven(6).assign(step=lambda t: t["step"] ** 2),
    "fractions": uneven(7).assign(step=lambda t: t["step"] / 4),
    "times": uneven(8).assign(
        step=lambda t: pd.Timestamp("2026-01-01") + pd.to_timedelta(t["step"], unit="D")
    ),
    "broke off": flagged(uneven(9), "truncated"),
    "ended": flagged(uneven(10), "terminated"),
    "left out": left_out(uneven(11)),
    "left out, inferred": inferred(flagged(uneven(12), "truncated")),
    "last observations": with_last_observations(uneven(13)),
    "one step": draw(14, falls=1.5, n=150, longest=1),
    "few": uneven(15, n=25),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of what the flags leave open
@pytest.mark.parametrize("case", CASES)
def test_what_a_drift_accounts_for_is_that_of_the_table_in_memory(case):
    """Exactly, as lots hold one episode each, but for what single states add to the error."""
    lazy, eager = judge(lazily(CASES[case])), judge(in_order(CASES[case]))
    if case in ("neither", "few"):
        error = eager.to_frame()["difference_standard_error"].iloc[0]
        assert lazy.drift_gain == pytest.approx(eager.drift_gain, abs=0.1 * error)
    else:
        same(lazy, eager)


SAME = ["both", "fractions", "left out", "last observations"]
ON_ENGINES = [(case, name) for case in SAME for name in QUICK]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(("case", "engine"), ON_ENGINES, indirect=["engine"])
def test_every_engine_finds_the_same_drift(case, engine):
    same(judge(engine(CASES[case])), judge(lazily(CASES[case])))


def same(lazy, other):
    """Both tell the same."""
    assert lazy.drift_gain == pytest.approx(other.drift_gain, rel=1e-8, abs=1e-10)
    assert lazy.n_episodes == other.n_episodes
    assert lazy.conclusion == other.conclusion
    for name in ("value", "standard_error", "difference", "difference_standard_error"):
        found, expected = (one.to_frame()[name].iloc[0] for one in (lazy, other))
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_what_does_not_fit_into_memory_is_added_up_where_it_is(engine, monkeypatch):
    table = CASES["times"]
    sizes = []

    def fetch(lazy, doing, tell):
        found = skmdp._log.engines.fetch(lazy, doing, tell)
        sizes.append(len(found))
        return found

    expected = judge(in_order(table)).drift_gain
    monkeypatch.setattr(skmdp._log.steps, "MOST_CELLS", 0)
    monkeypatch.setattr(skmdp._log.steps, "fetch", fetch)
    assert judge(engine(table)).drift_gain == pytest.approx(expected, rel=1e-8)
    assert not sizes


def test_times_that_never_agree_take_no_more_memory(monkeypatch):
    """Each row at a time of its own: what comes to memory is as large as with whole days.

    Machines start in another order, and so fall into other lots.
    """

    def n_rows_of(table):
        sizes = []
        collected = skmdp._log.engines.fetch

        def fetch(lazy, doing, tell):
            found = collected(lazy, doing, tell)
            sizes.append(len(found))
            return found

        with monkeypatch.context() as patch:
            for module in (skmdp._log.engines, skmdp._log.steps):
                patch.setattr(module, "fetch", fetch)
            judge(lazily(table))
        return sum(sizes)

    table = draw(0, n=400)
    seconds = pd.to_timedelta(np.random.default_rng(0).integers(1000, size=len(table)), unit="s")
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(table["step"], unit="D") + seconds
    days = table["step"] + table["episode"].str[1:].astype(int) % 3
    assert n_rows_of(table.assign(step=times)) < 1.05 * n_rows_of(table.assign(step=days))


@pytest.mark.long
@pytest.mark.parametrize("n", [150, 1000])
@pytest.mark.parametrize(("rises", "falls"), [(1.0, 0.0), (0.0, 1.5)])
def test_a_drift_is_not_taken_for_a_gain(n, rises, falls):
    """Of equal actions the one that spreads looks better, and is not said to be."""
    logs = [draw(seed, rises=rises, falls=falls, n=n) for seed in range(N_LOGS // 2)]
    found = [judge(lazily(log)) for log in logs]
    looks = [one.to_frame()["difference_lower"].iloc[0] > 0 for one in found]
    assert np.mean(looks) > 0.5
    assert not any(one.is_better for one in found)
    assert any("rewards or transitions may change over time" in one.conclusion for one in found)


def staggered(seed, *, last_start, opposite=False, better=0.0, n=60, n_steps=60):
    """Draw records of a calendar, over which rewards rise where an action spreads, or fall."""
    rng = np.random.default_rng(seed)
    start = rng.integers(last_start + 1, size=n)
    step = (start[:, np.newaxis] + np.arange(n_steps)).ravel()
    t, state = step / (last_start + n_steps), rng.integers(4, size=n * n_steps)
    sign = np.where(opposite, (-1) ** state, 1)
    is_new = rng.random(len(t)) < 0.5 + (0.0 if better else 0.8) * sign * (t - 0.5)
    return pd.DataFrame(
        {
            "episode": np.repeat(rng.permutation(n), n_steps),
            "step": step,
            "state": state,
            "action": np.where(is_new, "new", "old"),
            "reward": 2 * sign * t + better * is_new + rng.normal(size=len(t)),
            "truncated": np.tile(np.arange(n_steps) == n_steps - 1, n),
        }
    )


@pytest.mark.long
@pytest.mark.parametrize("last_start", [0, 60])
def test_opposite_drifts_of_states_are_not_taken_for_a_gain(last_start):
    """Over the steps, which is what changes where all start at once, or over the calendar."""
    logs = [staggered(seed, last_start=last_start, opposite=True) for seed in range(N_LOGS // 2)]
    found = [judge(lazily(log)) for log in logs]
    looks = [one.to_frame()["difference_lower"].iloc[0] > 0 for one in found]
    assert np.mean(looks) > 0.5
    assert sum(one.is_better for one in found) <= 1
    rest = [staggered(seed, last_start=last_start, better=0.5) for seed in range(N_LOGS // 4)]
    assert all(judge(lazily(log)).is_better for log in rest)


def dated(log):
    return log.assign(step=pd.Timestamp("2026-01-01") + pd.to_timedelta(log["step"], unit="D"))


@pytest.mark.parametrize("engine", QUICK, indirect=True)
def test_every_engine_reads_the_calendar(engine):
    log = staggered(0, last_start=60)
    expected, found = judge(log), judge(engine(dated(log)))
    assert found.drift_gain == pytest.approx(expected.drift_gain, rel=0.1)
    assert not found.is_better


def test_a_calendar_may_be_in_any_unit():
    log = staggered(0, last_start=60, opposite=True)
    expected = judge(lazily(log)).drift_gain
    eighths = log.assign(step=log["step"] / 8)
    dates = dated(log).assign(step=lambda t: t["step"].dt.date)
    for table in (
        eighths,
        dates,
        dated(log).assign(step=lambda t: t["step"].dt.tz_localize("UTC")),
    ):
        assert judge(lazily(table)).drift_gain == pytest.approx(expected, rel=1e-9)


def test_a_wrong_date_hides_no_drift():
    """One step far from all others leaves no block without rows."""
    log = dated(staggered(0, last_start=60, opposite=True))
    last = log.groupby("episode")["step"].transform("max") == log["step"]
    far = log["step"].mask(last & (log["episode"] == 7), pd.Timestamp("2226-01-01"))
    expected = judge(lazily(log)).drift_gain
    assert judge(lazily(log.assign(step=far))).drift_gain == pytest.approx(expected, rel=0.05)


# All start at once, or one after the other; with few rows of a date as well, or states unlike.
SHOCKS = [
    {"n": 200, "last": 0, "n_states": 4},
    {"n": 200, "last": 60, "n_states": 4},
    {"n": 200, "last": 60, "n_states": 4, "own": True},
    {"n": 200, "last": 60, "n_states": 4, "better": -0.2},
    {"n": 40},
]


@pytest.mark.parametrize("options", SHOCKS)
def test_dates_that_are_good_or_bad_in_no_order_are_no_gain(options):
    """Each date by itself, which no block of time shows."""
    logs = [shocks(seed, **options) for seed in range(3)]
    found = [judge(lazily(log)) for log in logs]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)


def test_dates_of_single_decisions_are_looked_at_as_well():
    logs = [shocks(seed, n=3000, n_steps=1, last=89, n_states=4) for seed in range(2)]
    found = [judge(lazily(log.rename(columns={"truncated": "terminated"}))) for log in logs]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)


@pytest.mark.parametrize("last", [0, 60])
def test_what_is_better_is_found_on_such_dates(last):
    logs = [shocks(s, n=200, last=last, n_states=4, share=0, better=0.3) for s in range(3)]
    assert all(judge(lazily(log)).is_better for log in logs)


@pytest.mark.parametrize("engine", ["polars", "duckdb"], indirect=True)
def test_every_engine_counts_rows_by_date(engine):
    log = shocks(0, n=50, last=60, n_states=4)
    found, expected = judge(engine(dated(log))), judge(lazily(log))
    assert found.drift_gain == pytest.approx(expected.drift_gain, rel=1e-6)
    assert not found.is_better


def test_many_dates_are_counted_in_bins(monkeypatch):
    """How much comes to memory is bounded, and what it tells is less at most."""
    log = shocks(0, n=200, last=60, n_states=4)
    monkeypatch.setattr(skmdp._log.steps, "MOST_CELLS", 45 * 4 * 2 * 5)
    in_bins = judge(lazily(log))
    monkeypatch.undo()
    exact = judge(lazily(log))
    assert 0 < in_bins.drift_gain <= exact.drift_gain


def cohorts(seed, *, n=400, days=3, share=0.3, level=1.0, better=0.0, own=False):
    """A calendar of 360 days, some of which are good for all episodes that start then.

    As long as they last, in all states or in each of its ``own``. So ``days`` in a row are, and an
    action is taken more often in good episodes, by ``share``. Each has a trait of its own beside.
    """
    rng = np.random.default_rng(seed)
    start, length = rng.integers(360, size=n), rng.integers(5, 21, size=n)
    episode = np.repeat(np.arange(n), length)
    step = start[episode] + np.arange(len(episode)) - (np.cumsum(length) - length)[episode]
    state = rng.integers(3, size=len(episode))
    sign = rng.choice([-1.0, 1.0], size=(120, 3))
    good = sign[start[episode] // days, state if own else 0]
    is_new = rng.random(len(episode)) < 0.5 + share * good
    hidden = 0.5 * rng.normal(size=n)[episode]
    return pd.DataFrame(
        {
            "episode": rng.permutation(n)[episode],
            "step": step,
            "state": state,
            "action": np.where(is_new, "new", "old"),
            "reward": level * good + better * is_new + hidden + rng.normal(size=len(episode)),
            "truncated": np.append(np.diff(episode) > 0, True),
        }
    ).sample(frac=1, random_state=seed)


@pytest.mark.parametrize(
    "options", [{}, {"own": True, "n": 1200}, {"better": -0.2}, {"n": 150}, {"n": 2000}]
)
def test_dates_on_which_episodes_start_may_be_good_or_bad(options):
    """Whatever the dates are like on which their rows are."""
    found = [judge(lazily(cohorts(seed, **options))) for seed in range(3)]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_what_is_better_is_found_whatever_start_dates_are_like(level):
    logs = [cohorts(seed, share=0.0, level=level, better=0.3, n=600) for seed in range(3)]
    assert all(judge(lazily(log)).is_better for log in logs)


@pytest.mark.parametrize("engine", [name for name in HERE if name != "sqlframe"], indirect=True)
def test_every_engine_counts_rows_by_start(engine):
    """Of more episodes than lots."""
    log = cohorts(0, n=220)
    found, expected = judge(engine(dated(log))), judge(lazily(log))
    assert found.drift_gain == pytest.approx(expected.drift_gain, rel=1e-6)
    assert not found.is_better


def test_hardly_a_row_a_date():
    """Dates of which each has a row or two are looked at one by one, if rows are few."""
    logs = [shocks(seed, n=150, n_steps=20, last=2000, n_states=4) for seed in range(3)]
    found = [judge(lazily(log)) for log in logs]
    assert all(one.to_frame()["difference_lower"].iloc[0] > 0 for one in found)
    assert not any(one.is_better for one in found)


@pytest.mark.long
def test_cross_validation_is_not_taken_in():
    found = [MarkovPolicyCV().fit(lazily(draw(seed, rises=1.5))) for seed in range(N_LOGS // 2)]
    assert sum(one.gain_interval_[0] > 0 for one in found) > N_LOGS / 4
    assert not any(one.is_better_ for one in found)
    assert any("rewards or transitions may change over time" in one.summary() for one in found)


def test_machines_that_start_later_come_later():
    """Names tell nothing of the time here, but a calendar does."""
    table = in_order(draw(0, falls=1.5, n=600, longest=6))
    number = table["episode"].str[1:].astype(int)
    names = np.random.default_rng(0).permutation(600)
    calendar = table.assign(episode=names[number], step=table["step"] + number)
    expected = judge(table).drift_gain
    assert expected > 0
    assert judge(lazily(calendar)).drift_gain == pytest.approx(expected, rel=0.2)
    unknown = judge(lazily(calendar.assign(step=table["step"]))).drift_gain
    assert unknown < 0.2 * expected


@pytest.mark.long
def test_what_is_better_is_found():
    for seed in range(3):
        plain = judge(lazily(draw(seed, better=0.3, n=1000)))
        assert plain.is_better
        drifting = judge(lazily(draw(seed, rises=2.0, better=0.3, n=1000, spreads=False)))
        assert drifting.is_better
        assert MarkovPolicyCV().fit(lazily(draw(seed, better=0.3, n=1000))).is_better_


@pytest.mark.long
def test_where_nothing_drifts_little_is_taken_off():
    found = [judge(lazily(draw(seed, n=400, longest=6))) for seed in range(40)]
    errors = [one.to_frame()["difference_standard_error"].iloc[0] for one in found]
    taken_off = np.array([one.drift_gain for one in found]) / errors
    assert taken_off.mean() < 0.4
    assert np.count_nonzero(taken_off > 2) <= 5  # 1.6 are expected: two looks at 2 % each


@pytest.mark.long
def test_traits_that_states_hide_prove_nothing():
    """Few episodes make an action lucky in many rows, which errors by rows do not show."""
    sizes = [150, 600] * N_LOGS
    logs = [draw(seed, trait=1.0, n=n, spreads=False) for seed, n in enumerate(sizes)]
    assert sum(judge(lazily(log)).is_better for log in logs) <= 3  # 1 is expected
    without = [log.drop(columns=["episode", "step"]) for log in logs[:20]]
    looks = [judge(lazily(log)) for log in without]
    assert any(one.to_frame()["difference_lower"].iloc[0] > 0 for one in looks)
    assert not any(one.is_better for one in looks)


def test_a_comparison_looks_for_a_drift_as_well():
    lazy = lazily(CASES["months"])
    table = compare_policies({"today": "behavior", "new": "new"}, lazy)
    assert table["drift_gain"].tolist() == pytest.approx([0.0, judge(lazy).drift_gain])


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of starts that are unknown
@pytest.mark.parametrize("keep", [lambda table: table, lazily])
def test_without_episodes_nothing_is_called_better(keep):
    """Rows that lead on belong together, and may be alike."""
    table = draw(0, better=1.0).drop(columns=["episode", "step"])
    found = judge(keep(table))
    assert found.to_frame()["difference_lower"].iloc[0] > 0
    assert found.lacks_episodes
    assert not found.is_better
    assert "not known which rows belong to one episode" in found.conclusion
    assert np.isnan(found.drift_gain)
    alone = judge(keep(table.assign(terminated=True)))
    assert not alone.lacks_episodes
    assert alone.is_better
    not_looked = alone.conclusion.endswith("chance alone; drift over time not looked for).")
    assert not_looked == (keep is lazily)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_episodes_of_a_lazy_table_without_steps_are_unknown():
    table = draw(0, better=1.0).drop(columns="step")
    found = judge(lazily(table))
    assert found.lacks_episodes
    assert not found.is_better

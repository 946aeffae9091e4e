"""The books of a workshop: what they hold, and that the best policy can be learned from them."""

import numpy as np
import pytest

from skmdp import MarkovPolicyCV
from skmdp.datasets import make_maintenance_log
from skmdp.datasets._maintenance import ACTIONS, CONDITIONS, COSTS, HABITS, INCOME, NEXT_SHARES

ROLES = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}


def best_actions(gamma):
    """Solve the workshop by value iteration, on dicts."""
    values = dict.fromkeys(CONDITIONS, 0.0)

    def worth(condition, action):
        income = INCOME[condition] if action in ("run", "service") else 0
        shares = zip(CONDITIONS, NEXT_SHARES[condition, action], strict=True)
        return income - COSTS[action] + gamma * sum(p * values[after] for after, p in shares)

    def choices(condition):
        return [action for action in ACTIONS if (condition, action) in NEXT_SHARES]

    for _ in range(500):
        values = {
            condition: max(worth(condition, action) for action in choices(condition))
            for condition in CONDITIONS
        }
    return {c: max(choices(c), key=lambda action, c=c: worth(c, action)) for c in CONDITIONS}


def test_shares_are_probabilities():
    for shares in (*NEXT_SHARES.values(), *HABITS.values()):
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
    taken = {(c, a) for c in CONDITIONS for a, p in zip(ACTIONS, HABITS[c], strict=True) if p > 0}
    assert taken == set(NEXT_SHARES)


def test_machines_go_on_from_month_to_month():
    log = make_maintenance_log(50, 12, random_state=0)
    assert len(log) == 600
    assert log["month"].tolist() == list(range(1, 13)) * 50
    within = log["machine"].eq(log["machine"].shift(-1)).to_numpy()
    following = log["condition"].shift(-1).to_numpy()
    assert (log["next_condition"].to_numpy()[within] == following[within]).all()


def test_what_happens_is_as_likely_as_said():
    log = make_maintenance_log(4000, 6, random_state=0)
    for (condition, action), shares in NEXT_SHARES.items():
        rows = log[(log["condition"] == condition) & (log["action"] == action)]
        found = [(rows["next_condition"] == after).mean() for after in CONDITIONS]
        assert np.abs(np.array(found) - shares).max() < 4 * 0.5 / np.sqrt(len(rows))
        income = INCOME[condition] if action in ("run", "service") else 0
        assert rows["profit"].mean() == pytest.approx(income - COSTS[action], abs=0.2)
    for condition, habit in HABITS.items():
        rows = log[log["condition"] == condition]
        for action, share in zip(ACTIONS, habit, strict=True):
            assert (rows["action"] == action).mean() == pytest.approx(share, abs=0.05)


def test_the_best_policy_is_learned_and_shown_to_be_better():
    policy = MarkovPolicyCV(gamma=0.95, **ROLES).fit(make_maintenance_log(random_state=0))
    assert policy.policy_map() == best_actions(0.95)
    assert policy.is_better_
    assert best_actions(0.95) == {
        "new": "run",
        "good": "run",
        "worn": "service",
        "bad": "service",
        "broken": "replace",
    }


def test_a_seed_gives_the_same_books():
    assert make_maintenance_log(5, random_state=1).equals(make_maintenance_log(5, random_state=1))
    assert not make_maintenance_log(5, random_state=1).equals(
        make_maintenance_log(5, random_state=2)
    )


@pytest.mark.parametrize(("sizes", "name"), [((0, 5), "n_machines"), ((5, 0), "n_months")])
def test_a_workshop_needs_machines_and_months(sizes, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make_maintenance_log(*sizes)

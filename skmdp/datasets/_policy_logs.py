"""Simulated rows of the process of a fitted policy, in its own labels and with drawn rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skmdp._estimation.counts import TransitionCounts, sum_by_code
from skmdp._log.roles import default_next_names
from skmdp._typing import Floats


def require_probabilities(counts: TransitionCounts) -> None:
    """Raise for a process whose transitions are discounts of times."""
    if counts.discount_sums is not None:
        raise ValueError(
            "The decisions of this policy take different times, so its process holds discounts and "
            "cannot be sampled. Fit it with duration=None to simulate decisions."
        )


def labelled(policy: Any, codes: pd.DataFrame, rng: np.random.RandomState) -> pd.DataFrame:
    """Return rows of codes as a log in the columns and labels that a policy was learned from."""
    evidence, roles = policy.evidence, policy.roles
    names = evidence.states.names
    nexts = roles.next_state or default_next_names(names)
    is_known = codes["next_state"].notna().to_numpy()
    following = codes["next_state"].fillna(0).to_numpy(dtype=np.int64)
    episode = roles.names("episode")
    table = {episode[0] if len(episode) == 1 else "episode": codes["episode"]}
    table[roles.step or "step"] = codes["step"]
    parts = zip(names, evidence.states.parts(codes["state"].to_numpy()), strict=True)
    table |= {name: pd.Series(values) for name, values in parts}
    table[roles.action] = pd.Series(evidence.actions.labels[codes["action"].to_numpy()])
    if roles.reward is not None:
        table[roles.reward] = _drawn_rewards(policy, codes, np.where(is_known, following, -1), rng)
    parts = zip(nexts, evidence.states.parts(following), strict=True)
    table |= {name: pd.Series(values).where(is_known) for name, values in parts}
    table[roles.terminated or "terminated"] = codes["terminated"]
    return pd.DataFrame(table)


def _drawn_rewards(
    policy: Any, codes: pd.DataFrame, following: Any, rng: np.random.RandomState
) -> Floats:
    """Return the mean logged reward of each transition, and noise as the state's rewards have."""
    counts: TransitionCounts = policy.counts
    state, action = codes["state"].to_numpy(), codes["action"].to_numpy()
    means = counts.reward_sums / counts.weights
    triple = np.minimum(counts.find_triples(state, action, following), len(means) - 1)
    pair = counts.find_pairs(state, action)
    led_to = np.where(following < 0, counts.n_states, following)
    is_logged = (counts.triple_pair[triple] == pair) & (counts.next_states[triple] == led_to)
    paid = np.where(is_logged, means[triple], codes["reward"].to_numpy())
    explained = sum_by_code(
        counts.pair_state[counts.triple_pair], counts.weights * means**2, counts.n_states
    )
    squares = policy.evidence.state_squares
    left = np.maximum((squares - explained)[state], 0.0) / counts.state_weights[state]
    # What rounding leaves of equal squares is no spread.
    is_spread = left > 1e-12 * squares[state] / counts.state_weights[state]
    return np.asarray(paid + np.where(is_spread, np.sqrt(left), 0.0) * rng.normal(size=len(paid)))

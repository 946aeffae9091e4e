"""The environment of a process; imported only where Gymnasium is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete

from skmdp.mdp import MDP

Outcome = tuple[float, int, float, bool]


class ProcessEnv(gymnasium.Env):
    """A process step by step; see ``to_gymnasium``."""

    def __init__(self, mdp: MDP) -> None:
        self.mdp = mdp
        self.observation_space = Discrete(mdp.n_states)
        self.action_space = Discrete(mdp.n_actions)
        self.initial_state_distrib = mdp.initial_distribution
        self._rows = mdp.all_transitions(np.inf).copy()
        self._rows.eliminate_zeros()
        self._acts = np.zeros(mdp.n_states, dtype=bool)
        self._acts[mdp.acting_states] = True
        starts = self._acts if mdp.initial_distribution is None else mdp.initial_distribution
        self._starts = np.cumsum(starts / np.sum(starts))
        self._state: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Start an episode; return the state, and which actions are admissible in it."""
        super().reset(seed=seed, options=options)
        self._state = min(self._draw(self._starts), self.mdp.n_states - 1)
        return self._state, self._info(self._state)

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take an action; a state without actions has ended, whatever is done there."""
        state = self._state
        if state is None:
            raise ResetNeeded("Call reset() before step().")
        if not self._acts[state]:
            return state, 0.0, True, False, self._info(state)
        own = self._pairs_of(state)
        codes = self.mdp.pair_action[own]
        at = int(np.searchsorted(codes, action))
        if at == len(codes) or codes[at] != action:
            raise ValueError(
                f"Action {action} is not admissible in state {state}; info['action_mask'] marks "
                "those that are. Draw from them with action_space.sample(info['action_mask'])."
            )
        pair = own.start + at
        start, end = self._rows.indptr[pair : pair + 2]
        drawn = self._draw(np.cumsum(self._rows.data[start:end]))
        if not self.mdp.ends[pair]:  # the last bit of a sum is no end
            drawn = min(drawn, end - start - 1)
        is_end = drawn == end - start
        self._state = state if is_end else int(self._rows.indices[start + drawn])
        is_over = is_end or not self._acts[self._state]
        reward = float(self.mdp.rewards[pair])
        return self._state, reward, bool(is_over), False, self._info(self._state)

    @cached_property
    def P(self) -> dict[int, dict[int, list[Outcome]]]:
        """Outcomes (probability, next state, reward, terminated) by state and action."""
        table: dict[int, dict[int, list[Outcome]]] = {s: {} for s in range(self.mdp.n_states)}
        missing = 1 - self.mdp.mass
        # A table of Python objects has to be filled object by object.
        for pair, ends in enumerate(self.mdp.ends.tolist()):
            state, action = int(self.mdp.pair_state[pair]), int(self.mdp.pair_action[pair])
            reward = float(self.mdp.rewards[pair])
            own = slice(*self._rows.indptr[pair : pair + 2])
            following = self._rows.indices[own]
            parts = self._rows.data[own], following, ~self._acts[following]
            table[state][action] = [
                (p, t, reward, is_over)
                for p, t, is_over in zip(*(part.tolist() for part in parts), strict=True)
            ]
            if ends:
                table[state][action].append((float(missing[pair]), state, reward, True))
        return table

    def _draw(self, cumulated: npt.NDArray[np.float64]) -> int:
        """Draw a position by probabilities added up; their number if none comes."""
        return int(np.searchsorted(cumulated, self.np_random.random(), side="right"))

    def _pairs_of(self, state: int) -> slice:
        """Return the positions of the pairs of a state."""
        return slice(*np.searchsorted(self.mdp.pair_state, [state, state + 1]).tolist())

    def _info(self, state: int) -> dict[str, Any]:
        """Return which actions are admissible in a state."""
        mask = np.zeros(self.mdp.n_actions, dtype=np.int8)
        mask[self.mdp.pair_action[self._pairs_of(state)]] = 1
        return {"action_mask": mask}

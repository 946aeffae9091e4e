"""A process as an environment of Gymnasium, which is imported when one is asked for."""

from __future__ import annotations

from typing import Any

from skmdp.mdp import MDP


def to_gymnasium(mdp: MDP) -> Any:
    """Make a Gymnasium environment of a process.

    Parameters
    ----------
    mdp : MDP
        The process.

    Returns
    -------
    env : gymnasium.Env
        Observations are codes of states, actions are codes of actions. Episodes start by
        ``initial_distribution``, or in any state that has actions if there is none. A step pays
        the expected reward of its pair. Where an action ends the process, the last observation is
        the state that it was taken in. ``env.P`` is the table of all outcomes, made when it is
        first asked for, and ``MDP.from_gymnasium(env)`` is the process again.

    Raises
    ------
    ImportError
        If Gymnasium is not installed.

    Notes
    -----
    ``info["action_mask"]`` marks the actions that are admissible in the state, and
    ``env.action_space.sample(info["action_mask"])`` draws one of them; another action is a
    ValueError. Nothing limits the number of steps: see ``gymnasium.wrappers.TimeLimit``. What
    ``pessimism`` takes off is no reward, so it is not paid.

    A step is O(log n_pairs + its number of next states).

    Examples
    --------
    >>> from skmdp.datasets import make_garnet, to_gymnasium
    >>> env = to_gymnasium(make_garnet(5, 2, 2, random_state=0))
    >>> state, info = env.reset(seed=0)
    >>> state, info["action_mask"]
    (0, array([1, 1], dtype=int8))
    >>> env.P[4][0]  # the goal pays 1 and ends
    [(1.0, 4, 1.0, True)]
    """
    try:
        from skmdp.datasets._process_env import ProcessEnv
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise ImportError(
            "Environments need Gymnasium, which is not installed: pip install gymnasium."
        ) from error
    return ProcessEnv(mdp)

"""The model: a Markov decision process in state-action-pair form, usable without a log."""

from skmdp.mdp._mdp import MDP

__all__ = ["MDP"]

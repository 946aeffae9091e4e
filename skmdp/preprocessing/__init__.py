"""Logs to states: one transformer for states and the states that follow, and what came before."""

from skmdp.preprocessing._encoder import StateEncoder
from skmdp.preprocessing._lags import add_lags

__all__ = ["StateEncoder", "add_lags"]

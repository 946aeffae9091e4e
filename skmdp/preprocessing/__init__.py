"""Raw measurements to states: one transformer for the states and the states that follow."""

from skmdp.preprocessing._encoder import StateEncoder

__all__ = ["StateEncoder"]

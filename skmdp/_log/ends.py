"""How a log says that episodes end, and that records break off."""

from __future__ import annotations

from skmdp._log.labels import MISSING
from skmdp._log.roles import Roles
from skmdp._typing import Bools, Codes


def settle_ends(
    terminated: Bools | None, truncated: Bools | None, next_codes: Codes
) -> Bools | None:
    """Let terminated rows lead nowhere; return the rows of which nobody knows what followed.

    These are the rows without a next state that are not said to have ended: by ``terminated`` if
    the log has it, else by ``truncated``. None if the log has neither.
    """
    if terminated is not None:
        ended = terminated
    elif truncated is not None:
        ended = ~truncated
    else:
        return None
    left_out: Bools = (next_codes == MISSING) & ~ended
    if terminated is not None:
        next_codes[terminated] = MISSING
    return left_out


def tells_ends(roles: Roles, terminated: Bools | None, truncated: Bools | None) -> bool:
    """Tell whether a log says how its episodes end; ``terminated=None`` says that all do."""
    return terminated is not None or truncated is not None or roles.terminated is None

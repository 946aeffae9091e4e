"""Where version 0.1 kept the parts of a fitted policy: says what to do with its files."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Evidence":
        raise ImportError(
            "This policy was stored by skmdp 0.1, which laid out fitted policies in another way. "
            "Fit it anew and store it again, or load it with skmdp 0.1."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

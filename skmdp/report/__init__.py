"""A policy as one page to hand on: what it advises, what it rests on, what it is worth."""

from skmdp.report._report import write_report

__all__ = ["write_report"]

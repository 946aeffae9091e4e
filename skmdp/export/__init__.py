"""A policy handed on: as SQL, as JSON that predicts without its log, as rules to read."""

from skmdp.export._card import PolicyCard
from skmdp.export._json import from_json, to_json
from skmdp.export._rules import to_rules
from skmdp.export._sql import to_sql

__all__ = ["PolicyCard", "from_json", "to_json", "to_rules", "to_sql"]

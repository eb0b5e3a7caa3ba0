"""Why Postgres refused an event, in words, and what to do about it."""

from typing import Final

from ingest.store.failures import NO_DATA, Named, RowRefused

_MEND: Final = "Mend its name or its parameters below, and store it."
_RULE: Final = (
    "Mend the event so that it keeps the rule, or have the rule changed, and then store it."
)
_TRIGGER: Final = (
    "Mend the event so that the trigger or function takes it, or have that changed, and then store"
    " it."
)
_ELSE: Final = (
    "It may be no fault of the event: see that Postgres has what it lacks, and then store it."
)
_BY_CLASS: Final = {"22": _MEND, "23": _RULE, "44": _RULE, "54": _MEND, "P0": _TRIGGER}


def why(sqlstate: str, named: Named) -> str:
    """Return what it is and what Postgres named."""
    return RowRefused(None, sqlstate, "", named=named).reason


def what_to_do(sqlstate: str) -> str:
    """Return what mends it."""
    return _TRIGGER if sqlstate == NO_DATA else _BY_CLASS.get(sqlstate[:2], _ELSE)

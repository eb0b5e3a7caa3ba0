"""The answers in a few lines of plain Python: as the docstrings of the engine define them."""

import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingest.insights.questions import All, Condition, Either, Filter, Path, Selection
from tests.insights.world import Stored

QUARTER = timedelta(minutes=15)


def text(event: Stored, path: Path) -> str | None:
    """Return the text of a scalar."""
    value: Any = event._asdict()[path[0]]
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def number(written: str | None) -> float | None:
    """Return what a text reads as."""
    try:
        value = float(written or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and (written or "").isascii() else None


def is_true(where: Filter | None, event: Stored) -> bool:
    """Tell whether a filter means an event."""
    match where:
        case None:
            return True
        case All(parts):
            return all(is_true(part, event) for part in parts)
        case Either(parts):
            return any(is_true(part, event) for part in parts)
        case Condition(field, operator, value):
            asked = str(value).lower() if isinstance(value, bool) else str(value)
            return compare(operator, text(event, field), asked, is_parameter=field[0] == "params")


def compare(operator: str, found: str | None, asked: str, *, is_parameter: bool) -> bool:
    """Compare the text of a field with another."""
    if operator in ("exists", "missing"):
        return (found is None) == (operator == "missing")
    if found is None:
        return operator == "ne"
    if operator in ("eq", "ne"):
        return (found == asked or (is_parameter and same(found, asked))) == (operator == "eq")
    if operator == "contains":
        return asked in found
    order: dict[str, Callable[[Any, Any], bool]] = {
        "gt": lambda a, b: a > b,
        "lt": lambda a, b: a < b,
        "ge": lambda a, b: a >= b,
        "le": lambda a, b: a <= b,
    }
    if not is_json(asked):
        return order[operator](found.encode(), asked.encode())
    value = number(found)
    return value is not None and order[operator](value, float(asked))


def is_json(written: str) -> bool:
    """Tell whether a text is a number in JSON that a double holds."""
    shape = written.lstrip("-")
    if written.count("-", 0, 1) != len(written) - len(shape) or "_" in written:
        return False
    starts = shape[:1].isdigit() and not (shape[:1] == "0" and shape[1:2].isdigit())
    ends = shape[-1:].isdigit() and ".e" not in shape.lower()
    return starts and ends and number(written) is not None


def same(found: str, asked: str) -> bool:
    """Tell whether one is another way to write the number that the other is."""
    if not is_json(asked):
        return False
    value = float(asked)
    if value.is_integer() and abs(value) <= 2**53 and found == str(int(value)):
        return True
    return found == str(value)


def meant(selection: Selection, events: Iterable[Stored]) -> list[Stored]:
    """Return the events that are meant, in their order."""
    return sorted(
        (e for e in events if selection.name in (None, e.name) and is_true(selection.where, e)),
        key=lambda e: e.place,
    )


def beginnings(around: datetime, days: int, interval: str, zone: ZoneInfo) -> list[datetime]:
    """Return where buckets begin, by looking at the clock each quarter of an hour."""
    at, until = around - timedelta(days=days), around + timedelta(days=days)
    found: list[datetime] = []
    latest: Any = None
    while at < until:
        label = label_of(at.astimezone(zone), interval)
        if latest is None or (label != latest if interval == "hour" else label > latest):
            found.append(at)
            latest = label
        at += QUARTER
    return found[1:]


def label_of(local: datetime, interval: str) -> Any:  # noqa: ANN401 - compared with its like
    """Return what all times of a bucket have in common."""
    day: date = local.date()
    if interval == "hour":
        return local.replace(minute=0, tzinfo=None, fold=0), local.utcoffset()
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def bucket(at: datetime, starts: list[datetime]) -> datetime:
    """Return the beginning of the bucket of a time."""
    return max(start for start in starts if start <= at)

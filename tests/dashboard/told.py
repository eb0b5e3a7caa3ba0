"""Events for the pages that show some, hostile ones among them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tests.api.asked import Asked
from tests.insights.world import Stored

HOSTILE: Final = "<img src=x onerror=alert(1)>{{7*7}}'\"</script>\u202e\x1b[31m" + "w" * 60
FORMULAS: Final = ("=1+1", "+1", "-1", "@x", "\tx", "\rx", " =1", "\ufeff=1", "\uff1d1")
DAY: Final = datetime(2026, 3, 2, tzinfo=UTC)
DAYS: Final = 12
RANGE: Final = "from=2026-03-02&to=2026-03-14"


def made() -> list[dict[str, Any]]:
    """Return events of twelve days, as they are sent: of a few people, names and plans."""
    plans = ("pro", "free", "a|b", 'a"b', "ünï", 5, "5.0", True, None, HOSTILE)
    names = ("view", "view", "buy", HOSTILE, "=1+1")
    return [
        {
            "event_name": names[n % len(names)],
            "event_params": {"user_id": f"u{n % 7}", "n": n, "plan": plans[n % len(plans)]}
            | ({"a|b": n % 2, "x.y": "z", HOSTILE: HOSTILE} if n % 3 == 0 else {}),
            "timestamp": (DAY + timedelta(hours=n * 2)).isoformat(),
        }
        for n in range(DAYS * 12)
    ]


def stored(asked: Asked, events: Iterable[dict[str, Any]], app: str = "one") -> list[Stored]:
    """Send events, and return them as they are stored."""
    events = list(events)
    ids = asked.send(*events, app=app)
    return [
        Stored(
            UUID(event_id),
            datetime.fromisoformat(event["timestamp"]),
            event["event_name"],
            event["event_params"].get("user_id"),
            event["event_params"],
        )
        for event_id, event in zip(ids, events, strict=True)
    ]

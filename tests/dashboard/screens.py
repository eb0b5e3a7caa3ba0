"""Every screen of an app whose names, values and people are as hostile as text can be."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from tests.api.asked import Asked

HOSTILE: Final = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"'><svg/onload=alert(3)>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    '=HYPERLINK("http://evil.example")',
    "\u202egnp.exe\u2066\u200b\x1b[31mred\x07",
    "javascript:alert(4)//",
    "<!-- later -->",
    "constructor", "__proto__",
    "w" * 240,
    "日本語 العربية 👩‍👩‍👧‍👦 ﷽",
)  # fmt: skip
_DAYS: Final = 12


def furnish(asked: Asked) -> str:
    """Send events of every hostile name, with such parameters, by such people; return one's id."""
    now = datetime.now(UTC)
    events = [
        {
            "event_name": name,
            "event_params": {
                "user_id": HOSTILE[(place + day) % len(HOSTILE)],
                "plan": HOSTILE[(place * 5 + day) % len(HOSTILE)],
                HOSTILE[place]: {"inner": [HOSTILE[day % len(HOSTILE)]], "amount": place * day},
                "amount": day * 1000.5,
            },
            "timestamp": (now - timedelta(days=day, minutes=place)).isoformat(),
        }
        for day in range(_DAYS)
        for place, name in enumerate(HOSTILE)
    ]
    return asked.send(*events)[0]


def of_app(app: int, event_id: str) -> Mapping[str, str]:
    """Return the address of each screen of an app, by what is seen there."""
    first, second, third = HOSTILE[0], HOSTILE[1], HOSTILE[2]
    plan = ("breakdown", "params.plan")
    queries: Mapping[str, tuple[str, Sequence[tuple[str, str]]]] = {
        "live": ("live", ()),
        "live, filtered": ("live", [("event", first)]),
        "explorer": ("explore", ()),
        "explorer, filtered": (
            "explore",
            [("event", first), ("where", f"params.plan:ne:{second}")],
        ),
        "explorer, nothing": ("explore", [("event", "no such event")]),
        "an event": (f"events/{event_id}", ()),
        "a person": ("person", [("id", first)]),
        "nobody": ("person", [("id", "nobody")]),
        "erase a person": ("person/erase", [("id", first)]),
        "trends": ("trends", ()),
        "trends of six": ("trends", [("event", name) for name in HOSTILE[:6]]),
        "trends broken down": ("trends", [("event", first), plan, ("compare", "previous")]),
        "trends of people": ("trends", [("measure", "people"), ("interval", "week")]),
        "trends of nothing": ("trends", [("event", "no such event")]),
        "funnels": ("funnels", ()),
        "a funnel": ("funnels", [("step", first), ("step", second), ("step", third)]),
        "a funnel broken down": ("funnels", [("step", first), ("step", second), plan]),
        "retention": ("retention", ()),
        "retention by day": (
            "retention",
            [("first", first), ("then", second), ("interval", "day")],
        ),
        "boards": ("boards", ()),
        "rejected": ("rejected", ()),
        "keys": ("keys", ()),
        "people": ("people", ()),
        "settings": ("settings", ()),
        "limits": ("limits", ()),
        "changes": ("changes", ()),
    }
    return {
        name: f"/apps/{app}/{page}{'?' if query else ''}{urlencode(query)}"
        for name, (page, query) in queries.items()
    }


OF_THE_SERVER: Final[Mapping[str, str]] = {
    "apps": "/apps",
    "account": "/account",
    "changes of all": "/changes",
    "health": "/health",
}

"""Sends with a Python SDK, as an app does: `python python_sdks.py SDK ADDRESS KEY TIME`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

PROPERTIES: Final[dict[str, Any]] = {
    "plan": "pro",
    "unicode": "Zoë 日本 🎉",
    "nested": {"a": {"b": [1, "two", None, True]}},
    "int": 42,
    "float": 19.99,
    "big": 9007199254740993,
    "nothing": None,
    "flag": False,
    "when": datetime(2026, 11, 19, 8, tzinfo=UTC),
    "list": ["x", {"y": 1}],
    "empty": {},
}
WHEN: Final = datetime.fromisoformat(sys.argv[-1])
TRAITS: Final = {"name": "Ada Example", "plan": "pro"}


def segment(url: str, key: str) -> None:
    """Segment."""
    from segment.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    _send_all(Client(key, host=url, upload_interval=0.2, gzip=True))


def rudder(url: str, key: str) -> None:
    """RudderStack, whose SDK was Segment's."""
    from rudderstack.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    _send_all(Client(key, host=url, upload_interval=0.2))


def _send_all(client: Any) -> None:  # noqa: ANN401 - of libraries without types
    client.identify("user-1", TRAITS)
    client.track("user-1", "Order Completed", PROPERTIES)
    client.track("user-1", "With Options", {"n": 1}, timestamp=WHEN, message_id="own-1")
    client.page("user-1", "Docs", "Pricing")
    client.screen("user-1", "App", "Home")
    client.group("user-1", "group-1", {"name": "Example Ltd"})
    client.alias("anon-1", "user-1")
    client.track("user-1", "Bad", {"nul": "a\0b", "lone": "\ud83c"})
    client.track("user-1", "NaN", {"nan": float("nan"), "infinity": -float("inf")})
    client.flush()
    client.join()


def posthog(url: str, key: str) -> None:
    """PostHog."""
    from posthog import Posthog  # noqa: PLC0415

    client: Any = Posthog(key, host=url, flush_interval=0.2)
    client.set(distinct_id="user-1", properties=TRAITS)
    client.capture("Order Completed", distinct_id="user-1", properties=PROPERTIES)
    client.capture("With Options", distinct_id="user-1", properties={"n": 1}, timestamp=WHEN)
    client.group_identify("company", "group-1", {"name": "Example Ltd"})
    client.alias("anon-1", "user-1")
    client.capture("Bad", distinct_id="user-1", properties={"nul": "a\0b"})
    client.capture("NaN", distinct_id="user-1", properties={"nan": float("nan")})
    client.feature_enabled("some-flag", "user-1")
    client.shutdown()


def amplitude(url: str, key: str) -> None:
    """Amplitude."""
    from amplitude import Amplitude, BaseEvent, EventOptions, Identify  # type: ignore[import-untyped]  # noqa: PLC0415

    client: Any = Amplitude(key)
    client.configuration.server_url = f"{url}/2/httpapi"
    client.configuration.flush_interval_millis = 200
    plain = {name: value for name, value in PROPERTIES.items() if name in _OF_AMPLITUDE}
    client.track(BaseEvent("Order Completed", user_id="user-1", event_properties=plain))
    at = int(WHEN.timestamp() * 1000)
    client.track(BaseEvent("With Options", user_id="user-1", time=at, insert_id="own-1"))
    client.identify(Identify().set("plan", "pro"), EventOptions(user_id="user-1"))
    client.set_group("company", "group-1", EventOptions(user_id="user-1"))
    bad = {"nul": "a\0b", "lone": "\ud83c"}
    client.track(BaseEvent("Bad", user_id="user-1", event_properties=bad))
    nan = {"nan": float("nan"), "infinity": -float("inf")}
    client.track(BaseEvent("NaN", user_id="user-1", event_properties=nan))
    client.flush()
    client.shutdown()


_OF_AMPLITUDE: Final = ("plan", "unicode", "int", "float", "flag")
"""It drops an event that has what it does not know."""
SDKS: Final[dict[str, Callable[[str, str], None]]] = {
    each.__name__: each for each in (segment, rudder, posthog, amplitude)
}

if __name__ == "__main__":
    SDKS[sys.argv[1]](sys.argv[2], sys.argv[3])

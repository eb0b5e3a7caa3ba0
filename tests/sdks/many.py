"""Sends many events with a Python SDK, one by one: `python many.py SDK ADDRESS KEY COUNT`."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

PAUSE_S: Final = 0.02
Send = Callable[[int], object]


def segment(url: str, key: str) -> tuple[Send, Callable[[], object]]:
    """Segment."""
    from segment.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    client: Any = Client(key, host=url, upload_size=10, upload_interval=0.1)
    return lambda n: client.track("u", "many", {"n": n}), lambda: _end(client)


def rudder(url: str, key: str) -> tuple[Send, Callable[[], object]]:
    """RudderStack."""
    from rudderstack.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    client: Any = Client(key, host=url, upload_size=10, upload_interval=0.1)
    return lambda n: client.track("u", "many", {"n": n}), lambda: _end(client)


def _end(client: Any) -> None:  # noqa: ANN401 - of libraries without types
    client.flush()
    client.join()


def posthog(url: str, key: str) -> tuple[Send, Callable[[], object]]:
    """PostHog."""
    from posthog import Posthog  # noqa: PLC0415

    client: Any = Posthog(key, host=url, flush_at=10, flush_interval=0.1)
    return lambda n: client.capture("many", distinct_id="u", properties={"n": n}), client.shutdown


def amplitude(url: str, key: str) -> tuple[Send, Callable[[], object]]:
    """Amplitude."""
    from amplitude import Amplitude, BaseEvent  # type: ignore[import-untyped]  # noqa: PLC0415

    client: Any = Amplitude(key)
    client.configuration.server_url = f"{url}/2/httpapi"
    client.configuration.flush_queue_size = 10
    client.configuration.flush_interval_millis = 100

    def send(n: int) -> None:
        client.track(BaseEvent("many", user_id="u", event_properties={"n": n}))

    def end() -> None:
        time.sleep(10)  # it tries again by itself, and drops what waits when it is shut down
        client.flush()
        client.shutdown()

    return send, end


SDKS: Final = {each.__name__: each for each in (segment, rudder, posthog, amplitude)}

if __name__ == "__main__":
    send, end = SDKS[sys.argv[1]](sys.argv[2], sys.argv[3])
    for number in range(int(sys.argv[4])):
        send(number)
        time.sleep(PAUSE_S)
    end()

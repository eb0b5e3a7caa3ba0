"""Sends many events with a Python SDK: `python many.py SDK ADDRESS KEY COUNT PATIENCE`.

PATIENCE is how many seconds it waits for an answer. Prints which events the SDK has given up.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

PAUSE_S: Final = 0.02
END_S: Final = 10
Send = Callable[[int], object]
gave_up: Final = list[int]()


def segment(url: str, key: str, patience_s: int) -> tuple[Send, Callable[[], object]]:
    """Segment."""
    from segment.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    return _of_segment(Client, url, key, patience_s)


def rudder(url: str, key: str, patience_s: int) -> tuple[Send, Callable[[], object]]:
    """RudderStack."""
    from rudderstack.analytics.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    return _of_segment(Client, url, key, patience_s)


def _of_segment(
    make: Any,  # noqa: ANN401 - of libraries without types
    url: str,
    key: str,
    patience_s: int,
) -> tuple[Send, Callable[[], object]]:
    client = make(
        key,
        host=url,
        upload_size=10,
        upload_interval=0.1,
        timeout=patience_s,
        on_error=_note,
    )

    def end() -> None:
        client.flush()
        client.join()

    return lambda n: client.track("u", "many", {"n": n}), end


def _note(_: Exception, batch: list[dict[str, Any]]) -> None:
    gave_up.extend(event["properties"]["n"] for event in batch)


def posthog(url: str, key: str, patience_s: int) -> tuple[Send, Callable[[], object]]:
    """PostHog."""
    from posthog import Posthog  # noqa: PLC0415

    client: Any = Posthog(
        key, host=url, flush_at=10, flush_interval=0.1, timeout=patience_s, on_error=_note
    )
    return lambda n: client.capture("many", distinct_id="u", properties={"n": n}), client.shutdown


def amplitude(url: str, key: str, _: int) -> tuple[Send, Callable[[], object]]:
    """Amplitude, which waits for ten seconds.

    What was on its way to a server that is killed it forgets, without a word.
    """
    from amplitude import Amplitude, BaseEvent  # type: ignore[import-untyped]  # noqa: PLC0415

    left = set[int]()

    def settle(event: Any, code: int, _: object = None) -> None:  # noqa: ANN401 - has no types
        if code == 200:
            left.discard(event.event_properties["n"])

    client: Any = Amplitude(key)
    client.configuration.server_url = f"{url}/2/httpapi"
    client.configuration.flush_queue_size = 10
    client.configuration.flush_interval_millis = 100
    client.configuration.callback = settle

    def send(n: int) -> None:
        left.add(n)
        client.track(BaseEvent("many", user_id="u", event_properties={"n": n}))

    def end() -> None:
        # It tries again by itself, and drops what waits when it is shut down.
        end_s = time.monotonic() + END_S
        while left and time.monotonic() < end_s:
            time.sleep(PAUSE_S)
        gave_up.extend(left)
        client.shutdown()

    return send, end


SDKS: Final = {each.__name__: each for each in (segment, rudder, posthog, amplitude)}

if __name__ == "__main__":
    send, end = SDKS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[5]))
    for number in range(int(sys.argv[4])):
        send(number)
        time.sleep(PAUSE_S)
    end()
    sys.stdout.write(json.dumps(gave_up))

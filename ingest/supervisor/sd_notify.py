"""What systemd is told of the server (`sd_notify(3)`): datagrams to the socket that it names.

Nothing is said where nobody asked to be told, and nothing here waits or fails: whether the server
serves does not depend on who watches it.
"""

import asyncio
import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

_US_PER_S: Final = 1_000_000
_STATUS_CHARS_MAX: Final = 200
_UNWATCHED_S: Final = 3600.0


class Notifier:
    """Tells systemd how the server is."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Read whom to tell, and take that out of the environment: no child may speak for us."""
        self._socket = _connected(environment.pop("NOTIFY_SOCKET", ""))
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        usec = environment.pop("WATCHDOG_USEC", "")
        is_watched = self._socket is not None and pid == str(os.getpid()) and usec.isdecimal()
        self.watchdog_interval_s = int(usec) / _US_PER_S / 2 if is_watched else 0.0
        """How often `watchdog` is to be called; 0 if nobody waits for it."""

    def ready(self, status: str = "") -> None:
        """Say that the server serves: after its start, and after a reload."""
        self._tell("READY=1", *_status(status))

    def reloading(self) -> None:
        """Say that the configuration is being read anew; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """Say that the server ends."""
        self._tell("STOPPING=1")

    def watchdog(self) -> None:
        """Say that the supervisor is alive, if anybody waits for that."""
        if self.watchdog_interval_s:
            self._tell("WATCHDOG=1")

    async def run_watchdog(self) -> None:
        """Say so for ever, as often as it is wanted, for as long as the loop comes round."""
        while True:
            self.watchdog()
            await asyncio.sleep(self.watchdog_interval_s or _UNWATCHED_S)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is not None and lines:
            with suppress(OSError):
                self._socket.send("\n".join(lines).encode())


def _connected(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.setblocking(False)
    try:
        told.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    except (OSError, ValueError):
        told.close()
        return None
    return told


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())[:_STATUS_CHARS_MAX]}"] if text else []

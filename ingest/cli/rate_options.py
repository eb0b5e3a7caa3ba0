"""The options that say how much an app, or a key, may send."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from ingest.errors import StartupError
from ingest.metering import rate_limits
from ingest.metering.rate_limits import BadRateLimit, RateLimits

Command = TypeVar("Command", bound=Callable[..., Any])

_BURST: Final = "events_burst"
_HELP: Final = {
    "events_per_second": "At most so many events a second, or none for as many as come.",
    _BURST: "So many of them at once; those of a second unless set.",
    "events_per_day": "At most so many events a day, or none.",
    "bytes_per_second": "At most so many bytes of bodies a second, as 1MB, or none.",
    "bytes_per_day": "At most so many bytes of bodies a day, as 2GB, or none.",
}


def rate_options(command: Command) -> Command:
    """Give a command the options; it gets a text or None for each, by the limits' names."""
    for name, told in reversed(_HELP.items()):
        option = "burst" if name == _BURST else name.replace("_", "-")
        command = click.option(f"--{option}", name, metavar="N", help=told)(command)
    return command


def given(options: Mapping[str, str | None]) -> dict[str, str]:
    """Return what was given of the options."""
    return {name: text for name, text in options.items() if text is not None}


def read(texts: Mapping[str, str], before: RateLimits | None = None) -> RateLimits:
    """Return what was given, and what was so before; raise StartupError."""
    try:
        return rate_limits.read(texts, before or RateLimits())
    except BadRateLimit as error:
        raise StartupError(str(error)) from None

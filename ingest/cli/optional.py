"""Modules that a library imports if they are there, for what nobody here asks of it.

Of the supervisor OpenSSL would take 1.3 MB, and `rich` 4 MB of each process where it is installed.
A worker is nobody's HTTP client: the certificates of all authorities, which aiohttp reads for that,
would take 2 MB of it and a tenth of its start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


def import_without(optional: str, library: str) -> None:
    """Import a library as where its optional module is not installed, which it is made for."""
    if library in sys.modules:
        return
    with _hidden(optional):
        import_module(library)


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    there = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment] # so Python marks what is not there
    try:
        yield
    finally:
        del sys.modules[name]
        if there is not None:
            sys.modules[name] = there

"""Modules that a library imports if they are there, for what nobody here asks of it.

Of the supervisor OpenSSL would take 1.3 MB, and `rich` 4 MB of each process where it is installed.
"""

import sys
from importlib import import_module


def import_without(optional: str, library: str) -> None:
    """Import a library as where its optional module is not installed, which it is made for."""
    if library in sys.modules or optional in sys.modules:
        return
    sys.modules[optional] = None  # type: ignore[assignment] # so Python marks what is not there
    try:
        import_module(library)
    finally:
        del sys.modules[optional]

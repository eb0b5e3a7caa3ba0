"""The driver of Postgres: a connection of it is cheap once its types are known.

For each of the driver's databases it reads all types and columns that Postgres has: 39 ms of CPU
here, and 10 there. So the one of the address that was connected to last is kept.
"""

import threading
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

_lock: Final = threading.Lock()
_databases: Final[dict[str, Any]] = {}
"""By their addresses, the one that was connected to last behind all others."""


def connect(uri: str) -> Any:  # noqa: ANN401 - the driver's, which may not be installed
    """Return a new connection, for its user to close; raises what the driver raises."""
    with _lock:
        database = _databases.pop(uri, None)
        if database is None:
            database = import_module("adbc_driver_postgresql").connect(uri)
        _databases[uri] = database
        _let_go(but=uri)
        return import_module("adbc_driver_manager").AdbcConnection(database)


def _let_go(but: str) -> None:
    """Close all others, but those that still have connections."""
    for uri in [each for each in _databases if each != but]:
        with suppress(Exception):
            _databases[uri].close()
            del _databases[uri]

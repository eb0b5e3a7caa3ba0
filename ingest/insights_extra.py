"""The extra `insights`: what it installs, and how. A server without it takes events as ever."""

from typing import Final

PACKAGES: Final = ("duckdb", "adbc_driver_manager", "adbc_driver_postgresql")
INSTALL: Final = "pip install 'nonito-events[insights]'"

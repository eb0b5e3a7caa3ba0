"""The extra `insights`: what it installs, and how. A server without it takes events as ever."""

from typing import Final

OF_ARCHIVE: Final = ("duckdb", "adbc_driver_manager", "adbc_driver_postgresql")
"""What the archive needs."""
PACKAGES: Final = (*OF_ARCHIVE, "argon2", "jinja2")
INSTALL: Final = "pip install 'nonito-events[insights]'"

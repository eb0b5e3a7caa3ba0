"""Configurations that are refused, and how."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from ingest import config
from ingest.errors import StartupError

NO_FILE: Final = Path("/dev/null")


def refusal(file: Path, text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the message of a configuration that is refused; assert that it is one line."""
    file.write_text(text)
    with pytest.raises(StartupError) as refused:
        config.load(file, environment or {}, {})
    message = str(refused.value)
    assert message
    assert "\n" not in message
    return message

"""Text as people give it to a command."""

from ingest.errors import StartupError


def require_text(option: str, value: str) -> None:
    """Raise StartupError for text that nobody means to give, or that Postgres can't hold."""
    if not value.strip() or "\0" in value:
        raise StartupError(f"{option} must not be empty")

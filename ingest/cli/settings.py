"""The configuration as a command sees it: the file, the environment, and its own flags."""

import os
from typing import Final

import click

from ingest import config
from ingest.cli import options
from ingest.config import Config
from ingest.observe import logs

_SHARED: Final = {"database_url": "database.url", "data_dir": "database.data_dir"}


def load(context: click.Context, flags: dict[str, object] | None = None) -> Config:
    """Return the configuration; `flags` by their dotted key, None where not given.

    Raises StartupError.
    """
    shared = options.given(context)
    given = {key: shared.get(name) for name, key in _SHARED.items()} | (flags or {})
    wanted = {key: value for key, value in given.items() if value is not None}
    return config.load(shared.get("config"), os.environ, wanted)


def load_quietly(context: click.Context) -> Config:
    """Return the configuration for a command whose output is what was asked for, not its logs."""
    settings = load(context)
    logs.configure("error", settings.log.format)
    return settings

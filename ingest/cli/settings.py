"""The configuration as a command sees it: the file, the environment, and its own flags."""

import os

import click

from ingest import config
from ingest.config import Config
from ingest.observe import logs


def load(context: click.Context, flags: dict[str, object] | None = None) -> Config:
    """Return the configuration; `flags` by their dotted key, None where not given.

    Raises StartupError.
    """
    path, shared = context.find_root().obj
    given = {key: value for key, value in {**shared, **(flags or {})}.items() if value is not None}
    return config.load(path, os.environ, given)


def load_quietly(context: click.Context) -> Config:
    """Return the configuration for a command whose output is what was asked for, not its logs."""
    settings = load(context)
    logs.configure("error", settings.log.format)
    return settings

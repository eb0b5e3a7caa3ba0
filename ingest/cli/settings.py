"""The configuration as a command sees it: the file, the environment, and the command line."""

import os
from collections.abc import Mapping

import click

from ingest import config
from ingest.cli import options
from ingest.config import Config
from ingest.observe import logs


def load(context: click.Context, flags: Mapping[str, object] | None = None) -> Config:
    """Return the configuration; `flags` by their dotted key, None where not given.

    Raises StartupError.
    """
    given = options.command_line(context, flags)
    return config.load(given.path, os.environ, given.flags)


def load_quietly(context: click.Context) -> Config:
    """Return the configuration for a command whose output is what was asked for, not its logs."""
    settings = load(context)
    logs.configure("error", settings.log.format)
    return settings

"""The options that every command has: before its name, or behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from ingest.cli.command_line import CommandLine

_Given = dict[str, Any]

_SETTINGS: Final = {"database_url": "database.url", "data_dir": "database.data_dir"}


def given(context: click.Context) -> _Given:
    """Return the options given so far by their name; of one given twice the last."""
    found: _Given = context.find_root().ensure_object(dict)
    return found


def command_line(context: click.Context, flags: Mapping[str, object] | None = None) -> CommandLine:
    """Return what was given of the configuration; `flags` are the command's own, by dotted key.

    None is one that was not given.
    """
    shared = given(context)
    found = {key: shared.get(name) for name, key in _SETTINGS.items()} | dict(flags or {})
    wanted = {key: value for key, value in found.items() if value is not None}
    return CommandLine(shared.get("config"), wanted)


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None and option.name is not None:
        given(context)[option.name] = value


def _option(*names: str, **attributes: Any) -> click.Option:  # noqa: ANN401 - click's own
    return click.Option(names, expose_value=False, callback=_keep, **attributes)


def add_to(command: click.Command) -> None:
    """Give the options to a command, and to those below it."""
    command.params += [
        _option(
            "--config", type=click.Path(path_type=Path), help="Default: ./config.toml, if any."
        ),
        _option(
            "--database-url", help="Postgres to use. Default: database.url, or the embedded one."
        ),
        _option(
            "--data-dir", help="Where the embedded Postgres lives. Default: database.data_dir."
        ),
    ]
    if isinstance(command, click.Group):
        for each in command.commands.values():
            add_to(each)

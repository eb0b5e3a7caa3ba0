"""The `nonito` command, one file for each of its subjects.

What serves, the supervisor and its children, runs without click.
"""

import gc
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Final

_INTERRUPTED: Final = 130  # what a shell makes of SIGINT
_CHILDREN: Final = ("worker", "insights")
"""Commands for `nonito serve` to run, not for people."""
_NEED_SSL: Final = ("asyncio", "prometheus_client")
"""What aiohttp imports with OpenSSL, and others need so."""


def main() -> None:
    """Run the command; what can't be done is one line on standard error, and mostly exit code 1.

    Ctrl-C while Python still reads it ends without a traceback, too.
    """
    try:
        from ingest.errors import StartupError  # noqa: PLC0415 - as below

        try:
            _run()
        except StartupError as error:
            print(f"nonito: {' '.join(str(error).splitlines())}", file=sys.stderr)  # noqa: T201
            sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _run() -> None:
    """Run the part that is asked for; to import it is most of the time that a start takes.

    What is imported stays. To look through it for garbage again and again, meanwhile and once more
    when a worker sets it aside, took a fifth of its start, and would save 0.6 MB of it.
    """
    gc.disable()
    run = _import()
    gc.freeze()
    gc.enable()
    run()


def _import() -> Callable[[], None]:
    """Return what runs the part that is asked for."""
    from ingest.cli import command_line, optional  # noqa: PLC0415

    if (given := command_line.take()) is not None:
        optional.import_without("ssl", "asyncio")
        optional.import_without("rich", "structlog")
        return partial(import_module("ingest.cli.server").run, given)
    if sys.argv[1:] and sys.argv[1] in _CHILDREN:
        optional.import_without("rich", "structlog")
        for name in _NEED_SSL:
            import_module(name)
        optional.import_without("ssl", "aiohttp")
        return _run_of(f"ingest.cli.{sys.argv[1]}")
    return _run_of("ingest.cli.root")


def _run_of(module: str) -> Callable[[], None]:
    run: Callable[[], None] = import_module(module).run
    return run

"""The `nonito` command, one file for each of its subjects.

What serves, the supervisor and its children, runs without click.
"""

import sys
from importlib import import_module
from typing import Final

_INTERRUPTED: Final = 130  # what a shell makes of SIGINT
_CHILDREN: Final = ("worker", "insights")
"""Commands for `nonito serve` to run, not for people."""
_NEED_SSL: Final = ("asyncio", "prometheus_client")
"""What aiohttp imports with OpenSSL, and others need so."""


def main() -> None:
    """Run the command; what can't be done is one line on standard error and exit code 1.

    Ctrl-C while Python still reads it ends without a traceback, too.
    """
    try:
        from ingest.errors import StartupError  # noqa: PLC0415 - as below

        try:
            _run()
        except StartupError as error:
            print(f"nonito: {' '.join(str(error).splitlines())}", file=sys.stderr)  # noqa: T201
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _run() -> None:
    """Run the part that is asked for; to import it is most of the time that a start takes."""
    from ingest.cli import command_line, optional  # noqa: PLC0415

    if (given := command_line.take()) is not None:
        optional.import_without("ssl", "asyncio")
        optional.import_without("rich", "structlog")
        import_module("ingest.cli.server").run(given)
    elif sys.argv[1:] and sys.argv[1] in _CHILDREN:
        optional.import_without("rich", "structlog")
        for name in _NEED_SSL:
            import_module(name)
        optional.import_without("ssl", "aiohttp")
        import_module(f"ingest.cli.{sys.argv[1]}").run()
    else:
        import_module("ingest.cli.root").run()

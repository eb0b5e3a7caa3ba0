"""The `nonito` command, one file for each of its subjects."""

import sys

_INTERRUPTED = 130  # what a shell makes of SIGINT


def main() -> None:
    """Run the command. Ctrl-C while Python still reads it ends without a traceback, too."""
    try:
        from ingest.cli.root import run  # noqa: PLC0415 - most of the time that a start takes

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)

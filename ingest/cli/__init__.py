"""The `nonito` command, one file for each of its subjects."""

from ingest.cli.root import command, main

__all__ = ["command", "main"]

"""`nonito demo`: a server with two weeks of a made-up shop's events, to look around in."""

from ingest.cli.demo.command import demo

__all__ = ["demo"]

"""`nonito query`: questions about an app's events, asked directly or of a server, and shown."""

from ingest.cli.query.command import query_group

__all__ = ["query_group"]

"""The command `outage`: what senders see while Postgres is away, and how fast the spool drains."""

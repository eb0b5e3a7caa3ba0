"""One server under audit, and what it shares with no other: its way to Postgres, and its spool."""

from dataclasses import dataclass

from bench.audit.process import ServerProcess
from bench.audit.proxy import Proxy
from bench.audit.spool_disk import SpoolDisk


@dataclass(frozen=True)
class Node:
    """A server with its number, from 0."""

    number: int
    server: ServerProcess
    proxy: Proxy
    spool: SpoolDisk

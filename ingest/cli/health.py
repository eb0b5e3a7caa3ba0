"""`nonito health`: whether the server of this configuration serves, for containers to ask."""

import os
import socket
from http.client import HTTPConnection, HTTPException
from typing import Final

import click

from ingest.addresses import EVERY, EVERY_IPV4, EVERY_IPV6, Address, Tcp, Unix
from ingest.cli.settings import load
from ingest.config import Config
from ingest.errors import StartupError

_TIMEOUT_S: Final = 1.5
_OK: Final = 200
_LOOPBACK: Final = {EVERY_IPV4: "127.0.0.1", EVERY_IPV6: "::1", EVERY: "127.0.0.1"}
"""Whoever listens on every interface listens on this one."""


@click.command()
@click.pass_context
def health(context: click.Context) -> None:
    """Exit with 0 if the server of this configuration answers /healthz, else with 1."""
    address = _address(load(context, {}))
    connection = _connection(address)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise StartupError(f"{address} does not answer: {_reason(error)}") from error
    finally:
        connection.close()
    if status != _OK:
        raise StartupError(f"{address} answers {status}")


class _UnixConnection(HTTPConnection):
    """One to a unix socket, whose path stands for the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def _connection(address: Address) -> HTTPConnection:
    if isinstance(address, Unix):
        found = _UnixConnection("localhost", timeout=_TIMEOUT_S)
        found.host = address.path
        return found
    host = _LOOPBACK.get(address.host, address.host)
    return HTTPConnection(host, address.port, timeout=_TIMEOUT_S)


def _reason(error: OSError | HTTPException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or "what it says is no HTTP"


def _address(settings: Config) -> Address:
    """Return where to ask: at the metrics' own address, if any, which no client can fill."""
    if settings.metrics.port:
        return Tcp(settings.metrics.host, settings.metrics.port)
    for address in settings.server.addresses:
        if isinstance(address, Unix) or address.port:
            return address
    raise StartupError("server.port is 0: which port the server took is in its log")

"""`nonito health`: whether the server of this configuration serves, for containers to ask."""

import os
from http.client import HTTPConnection, HTTPException
from typing import Final

import click

from ingest.cli.settings import load
from ingest.config import Config
from ingest.errors import StartupError

_TIMEOUT_S: Final = 1.5
_OK: Final = 200
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - asked, not bound
"""Whoever listens on every interface listens on this one."""


@click.command()
@click.pass_context
def health(context: click.Context) -> None:
    """Exit with 0 if the server of this configuration answers /healthz, else with 1."""
    host, port = _address(load(context, {}))
    connection = HTTPConnection(_LOOPBACK.get(host, host), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise StartupError(f"{host}:{port} does not answer: {_reason(error)}") from error
    finally:
        connection.close()
    if status != _OK:
        raise StartupError(f"{host}:{port} answers {status}")


def _reason(error: OSError | HTTPException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or "what it says is no HTTP"


def _address(settings: Config) -> tuple[str, int]:
    """Return where to ask: at the metrics' own address, if any, which no client can fill."""
    if settings.metrics.port:
        return settings.metrics.host, settings.metrics.port
    if not settings.server.port:
        raise StartupError("server.port is 0: which port the server took is in its log")
    return settings.server.host, settings.server.port

"""Where events are sent to, as it is written into the lines of code that people copy."""

from aiohttp import web

from ingest.web.address import origin_of


class IngestAddress:
    """What the operator says, or else the server's port at the host where pages are asked for."""

    def __init__(self, configured: str, port: int | None) -> None:
        """`port` is None where events arrive by unix sockets alone."""
        self._configured = configured.rstrip("/")
        self._port = port

    def of(self, request: web.BaseRequest) -> str | None:
        """Return it, without a slash at the end; None if it is not known."""
        if self._configured:
            return self._configured
        if self._port is None:
            return None
        host = origin_of(request).partition("://")[2]
        return f"http://{_without_port(host)}:{self._port}"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host

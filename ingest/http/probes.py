"""What orchestrators, load balancers and Prometheus ask: `/healthz`, `/readyz`, `/metrics`."""

from collections.abc import Callable, Mapping
from typing import Final

import orjson
from aiohttp import hdrs, web

from ingest.delivery.fallback import Fallback
from ingest.errors import Code, Refusal
from ingest.http.responses import SERVER, succeed
from ingest.http.router import Handler, Route, operational
from ingest.observe.exposition import Exposer
from ingest.store.health import Health

_OPTIONS: Final = {hdrs.ALLOW: "GET, HEAD, OPTIONS", hdrs.SERVER: SERVER}


class Probes:
    """Answers from what is known already; none of them touches the database."""

    def __init__(
        self,
        health: Health,
        fallback: Fallback,
        events_in_spool: Callable[[], int],
        exposer: Exposer,
    ) -> None:
        """Answer for the process, and of the spool for the whole server."""
        self._health = health
        self._fallback = fallback
        self._events_in_spool = events_in_spool
        self._exposer = exposer
        self._is_stopping = False

    def routes(self) -> Mapping[str, Route]:
        """Return by path the routes that load balancers ask."""
        return {
            "/healthz": _probe(self.get_healthz),
            "/readyz": _probe(self.get_readyz),
        }

    def all_routes(self) -> Mapping[str, Route]:
        """Return these and the metrics, for operators alone to read where they wish so."""
        return {**self.routes(), "/metrics": operational(self.get_metrics)}

    def stop(self) -> None:
        """From now on say that the server is not ready."""
        self._is_stopping = True

    @property
    def options_root(self) -> Handler:
        """`OPTIONS /`, which haproxy asks when it is told nothing else: whether we are ready."""
        return _options(self.get_readyz)

    async def get_healthz(self, _: web.BaseRequest) -> web.Response:
        """Say that the process serves; never touches the database."""
        return succeed(b'{"status":"ok"}')

    async def get_readyz(self, _: web.BaseRequest) -> web.Response:
        """Say whether a durable answer is possible, or why not."""
        if self._is_stopping:
            raise Refusal(Code.NOT_READY, "The server is stopping.")
        in_spool = self._events_in_spool()
        if self._health.is_up:
            return succeed(orjson.dumps(self._up(in_spool)))
        reason = self._health.reason
        if not self._fallback.has_room_for_some:
            raise Refusal(
                Code.NOT_READY,
                f"Postgres is {self._health.state} ({reason}), and the spool takes nothing.",
            )
        return succeed(
            orjson.dumps(
                {
                    "status": "ready",
                    "postgres": self._health.state,
                    "reason": reason,
                    "spool_events": in_spool,
                }
            )
        )

    def _up(self, in_spool: int) -> dict[str, object]:
        refusing = self._health.row_alarm.reason
        told = {"refusing_rows": refusing} if refusing else {}
        return {"status": "ready", "postgres": "up", **told, "spool_events": in_spool}

    async def get_metrics(self, request: web.BaseRequest) -> web.Response:
        """Expose the metrics to Prometheus, in the format and encoding that it asks for."""
        accept, encoding = (
            ",".join(request.headers.getall(name, ()))
            for name in (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING)
        )
        exposed = self._exposer.expose(accept, encoding)
        headers = {
            hdrs.CONTENT_TYPE: exposed.content_type,
            hdrs.VARY: f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}",
        }
        if exposed.is_gzipped:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=exposed.body, headers=headers)


def _probe(handler: Handler) -> Route:
    """Return the route of a probe, which may be asked with OPTIONS, too."""
    route = operational(handler)
    return route._replace(methods={**route.methods, hdrs.METH_OPTIONS: _options(handler)})


def _options(handler: Handler) -> Handler:
    """Return what answers OPTIONS: 204, or why the handler refuses."""

    async def answer(request: web.BaseRequest) -> web.Response:
        await handler(request)
        return web.Response(status=204, headers=_OPTIONS)

    return answer

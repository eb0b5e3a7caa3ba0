"""The site of questions: what each path is answered with, in one shape whatever goes wrong.

Only a script of no page may read it: no answer says otherwise, and none may be kept by a browser.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web

from ingest.api import asking, openapi, people
from ingest.api.allowance import Allowance
from ingest.api.answering import Answering
from ingest.api.asking import KINDS, PERSON_PARAMETERS, Asked, Kind
from ingest.api.export import Export
from ingest.api.parameters import Parameters
from ingest.api.people import People
from ingest.api.readers import Reader, Readers
from ingest.api.refusals import Code, Refused
from ingest.archive.failures import ArchiveTrouble, Moved, NotReady
from ingest.http.request_id import REQUEST_ID, TRACEPARENT, headers_of_id, request_id_of
from ingest.store.failures import Unavailable

log = structlog.get_logger(__name__)

_JSON: Final = "application/json"
_PREFIX: Final = "/v1/"
_PERSON_EVENTS: Final = re.compile(r"/v1/people/(.+)/events", re.DOTALL)
_PERSON: Final = re.compile(r"/v1/people/(.+)", re.DOTALL)
_ERASURE: Final = re.compile(r"/v1/erasures/([1-9][0-9]{0,17})")
_CONFIRM: Final = "confirm"
_HEADERS: Final[Mapping[str, str]] = {
    hdrs.SERVER: "nonito",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
}
_FOR_NOBODY: Final = "There is nothing here; /openapi.json says what can be asked."

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Routed = Callable[[web.BaseRequest, Mapping[str, str]], Awaitable[web.StreamResponse]]


class Site:
    """Answers requests; every route but two needs a key that reads."""

    def __init__(
        self,
        answering: Answering,
        export: Export,
        people: People,
        readers: Readers,
        allowance: Allowance,
    ) -> None:
        self._answering = answering
        self._people = people
        self._export = export
        self._readers = readers
        self._allowance = allowance
        self._open: Mapping[str, Handler] = {
            "/healthz": self._get_healthz,
            "/openapi.json": self._get_document,
        }
        self._document = openapi.document()

    def has(self, path: str) -> bool:
        """Return whether a path is one of questions, whoever asks."""
        return path.startswith(_PREFIX) or path in self._open

    async def dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever happens, in our one shape."""
        headers = {**_HEADERS, **headers_of_id(_id_of(request))}
        try:
            return await self._handler(request)(request, headers)
        except Refused as refused:
            return _refusal(refused, headers)
        except Unavailable as failure:
            log.warning("Postgres can't be asked", reason=failure.reason)
            message = "Postgres can't be asked now; ask again."
            return _refusal(Refused(Code.UNAVAILABLE, message, retry_after_s=1), headers)
        except ArchiveTrouble as trouble:
            log.warning("a question can't be answered", reason=str(trouble))
            return _refusal(_unavailable(trouble), headers)
        except Exception:
            log.exception("a question failed", path=_PERSON.sub("/v1/people/…", request.path))
            failed = Refused(Code.INTERNAL_ERROR, "The server failed; see its log.")
            return _refusal(failed, headers)

    def _handler(self, request: web.BaseRequest) -> Routed:
        routes = self._routes(request.path)
        if not routes:
            raise Refused(Code.NOT_FOUND, _FOR_NOBODY)
        found = routes.get(request.method)
        if found is None:
            allow = ", ".join(routes)
            raise Refused(Code.METHOD_NOT_ALLOWED, f"Use {allow} here.", allow=allow)
        return found

    def _routes(self, path: str) -> Mapping[str, Routed]:
        """Return what answers at a path, by method; nothing where there is nothing."""
        if (opened := self._open.get(path)) is not None:
            answer = partial(_with_headers, opened)
            return {hdrs.METH_GET: answer, hdrs.METH_HEAD: answer}
        if (person := _PERSON.fullmatch(path)) and not path.endswith("/events"):
            return {
                hdrs.METH_GET: partial(self._get_person, person[1]),
                hdrs.METH_DELETE: partial(self._delete_person, person[1]),
            }
        found = self._read_route(path)
        return {} if found is None else {hdrs.METH_GET: found}

    def _read_route(self, path: str) -> Routed | None:
        if (kind := KINDS.get(path)) is not None:
            return partial(self._answer, kind)
        if path == "/v1/export":
            return self._stream
        if (person := _PERSON_EVENTS.fullmatch(path)) is not None:
            read = partial(asking.person_events, person=person[1])
            return partial(self._answer, Kind(PERSON_PARAMETERS, read))
        if (number := _ERASURE.fullmatch(path)) is not None:
            return partial(self._get_erasure, int(number[1]))
        return None

    async def _answer(
        self, kind: Kind, request: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        reader = await self._readers.reader_of(request)
        question = kind.read(_asked(request, reader, kind.parameters))
        with self._allowance.question(reader.key):
            body = await self._answering.answer(reader.app.id, question)
        return web.Response(body=body, headers={**headers, hdrs.CONTENT_TYPE: _JSON})

    async def _stream(
        self, request: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        reader = await self._readers.reader_of(request)
        asked = _asked(request, reader, self._export.parameters)
        with self._allowance.question(reader.key):
            return await self._export.send(request, asked, headers)

    async def _get_person(
        self, person: str, request: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        reader = await self._readers.reader_of(request)
        _asked(request, reader, frozenset())
        with self._allowance.question(reader.key):
            found = await self._people.stored(reader.app, person)
        return _data(found, headers)

    async def _delete_person(
        self, person: str, request: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        reader = await self._readers.reader_of(request)
        by = await self._readers.eraser_of(reader)
        given = _asked(request, reader, frozenset((_CONFIRM,))).parameters.one(_CONFIRM) or ""
        with self._allowance.question(reader.key):
            erasure = await self._people.erase(reader.app, person, given, f"key {by}…")
        named = {**headers, hdrs.LOCATION: f"/v1/erasures/{erasure.id}"}
        return _data(people.told(erasure), named, status=202)

    async def _get_erasure(
        self, number: int, request: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        reader = await self._readers.reader_of(request)
        _asked(request, reader, frozenset())
        found = await self._people.erasure(reader.app, number)
        if found is None:
            raise Refused(Code.NOT_FOUND, "This app has no erasure of this number.")
        return _data(people.told(found), headers)

    async def _get_healthz(self, _: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"status":"ok"}', headers={hdrs.CONTENT_TYPE: _JSON})

    async def _get_document(self, _: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self._document, headers={hdrs.CONTENT_TYPE: _JSON})


async def _with_headers(
    handler: Handler, request: web.BaseRequest, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = await handler(request)
    response.headers.update(headers)
    return response


def _data(data: msgspec.Struct, headers: Mapping[str, str], status: int = 200) -> web.Response:
    body = msgspec.json.encode({"status": "success", "data": data})
    return web.Response(status=status, body=body, headers={**headers, hdrs.CONTENT_TYPE: _JSON})


def _unavailable(trouble: ArchiveTrouble) -> Refused:
    """Return the refusal of what can't be asked now; an operator's words are in the log."""
    is_told = isinstance(trouble, NotReady | Moved)
    message = f"The events can't be read now{f': {trouble}' if is_told else ''}; ask again."
    return Refused(Code.UNAVAILABLE, message, retry_after_s=5)


def _asked(request: web.BaseRequest, reader: Reader, known: frozenset[str]) -> Asked:
    return Asked(reader.app, Parameters(request.query, known), datetime.now(UTC))


def _refusal(refused: Refused, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=refused.status,
        body=refused.body(),
        headers={**headers, **refused.headers, hdrs.CONTENT_TYPE: _JSON},
    )


def _id_of(request: web.BaseRequest) -> str:
    headers = request.headers
    return request_id_of(headers.getall(REQUEST_ID, ()), headers.getall(TRACEPARENT, ()))

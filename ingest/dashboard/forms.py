"""What a form sends: bounded, and only from a page of ours."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from ingest.api.files import in_time
from ingest.dashboard.problems import Problem, of_another_site
from ingest.errors import Refusal
from ingest.http.bodies import BodyReader
from ingest.http.connection import held_of

FIELDS_BYTES_MAX: Final = 64 * 1024
"""More than all fields of any form but that of an event."""
_FIELDS_MAX: Final = 100
_FORM: Final = "application/x-www-form-urlencoded"
_SITE: Final = "Sec-Fetch-Site"
_SCHEMES: Final = ("http", "https")

Form = Mapping[str, str]
"""Each field's value; of several of one name the last one."""


def bytes_max_with(event_bytes_max: int) -> int:
    """Return the bound of a form that holds a whole event, each byte of it as four.

    A character of two bytes that is shown as an escape takes eight, others take three a byte.
    """
    return 4 * event_bytes_max + FIELDS_BYTES_MAX


async def read(request: web.BaseRequest, reader: BodyReader, bytes_max: int) -> Form:
    """Return what a form of so many bytes at most has sent; raise Problem."""
    require_own_page(request)
    if request.content_type != _FORM:
        raise Problem(415, "This is no form", f"Send it as {_FORM}.")
    try:
        body = await reader.read(request, bytes_max, held_of(request))
    except Refusal as refusal:
        raise Problem(refusal.status, "This form did not come whole", refusal.message) from None
    try:
        # A megabyte takes a quarter of a second.
        is_large = len(body) > FIELDS_BYTES_MAX
        return await in_time(_parse, body) if is_large else _parse(body)
    except ValueError:
        told = "It is no UTF-8, or has too many fields."
        raise Problem(400, "This form can't be read", told) from None


def _parse(body: bytes) -> Form:
    return dict(
        parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    )


def require_own_page(request: web.BaseRequest) -> None:
    """Raise Problem unless a browser says that a page of this very host sends it."""
    sites = request.headers.getall(_SITE, ())
    if sites:
        if list(sites) != ["same-origin"]:
            raise of_another_site()
        return
    origins, hosts = request.headers.getall(hdrs.ORIGIN, ()), request.headers.getall(hdrs.HOST, ())
    if len(hosts) != 1 or list(origins) not in ([f"{scheme}://{hosts[0]}"] for scheme in _SCHEMES):
        raise of_another_site()

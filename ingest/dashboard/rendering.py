"""Templates made into pages, and the files that they load: from memory, none from elsewhere."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.api.files import in_time
from ingest.dashboard.query import OPERATORS, link, without
from ingest.dashboard.replies import Page, Part
from ingest.dashboard.routes import Visit
from ingest.dashboard.text import shown
from ingest.store.accounts import Role
from ingest.web.pages import COMMON, File, read

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_FAVICON: Final = "favicon.svg"
_PREFIX: Final = "/static/"
_LATER: Final = "<!-- later -->"
"""Where a page goes on; what others wrote has no `<` left."""


class Rendering:
    """Makes pages."""

    def __init__(self) -> None:
        self._files = dict(_static())
        self._templates: Mapping[str, Template] | None = None

    def file(self, path: str) -> File | None:
        """Return what lies at a path that every page may load; None for none."""
        return self._files.get(path)

    async def page(self, visit: Visit, page: Page | Part) -> bytes:
        """Return a page, or a part of one, as HTML."""
        if self._templates is None:
            self._templates = await in_time(_compiled)
        now = datetime.now(UTC)
        values: dict[str, Any] = {"visit": visit, "links": self._links, "now": now, **page.values}
        return self._templates[page.template].render(values).encode()

    async def around(self, visit: Visit, page: Page) -> tuple[bytes, bytes]:
        """Return what a page has before its parts, and behind them."""
        whole = await self.page(visit, page._replace(values={**page.values, "later": _marker()}))
        before, _, behind = whole.partition(_LATER.encode())
        return before, behind

    @property
    def _links(self) -> Mapping[str, str]:
        return {
            path.removeprefix(_PREFIX): f"{path}?v={file.version}"
            for path, file in self._files.items()
        }


def _marker() -> "Markup":
    from markupsafe import Markup  # noqa: PLC0415 - of the extra

    return Markup(_LATER)  # noqa: S704 - ours


def _compiled() -> "Mapping[str, Template]":
    """Return all templates; takes a moment, in a thread, when the first page is asked for."""
    from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415 - of the extra

    place = files("ingest.dashboard") / "templates"
    texts = {each.name: each.read_text(encoding="utf-8") for each in place.iterdir()}
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=DictLoader(texts),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "moment": moment}
    made.globals |= {"Role": Role, "link": link, "without": without, "operators": OPERATORS}
    return {name: made.get_template(name) for name in texts}


def moment(time: datetime | None, zone: str = "UTC") -> str:
    """Return a time to the minute in a zone, which is named."""
    if time is None:
        return "never"
    return f"{time.astimezone(ZoneInfo(zone) if zone != 'UTC' else UTC):%Y-%m-%d %H:%M} {zone}"


def _static() -> Iterator[tuple[str, File]]:
    """Yield what lies at which path; style sheets begin with what all pages have."""
    yield f"{_PREFIX}{_FAVICON}", File(read(_FAVICON), "image/svg+xml")
    for each in (files("ingest.dashboard") / "static").iterdir():
        kind = _KINDS[Path(each.name).suffix]
        body = each.read_bytes()
        whole = read(COMMON) + body if each.name == "dashboard.css" else body
        yield f"{_PREFIX}{each.name}", File(whole, kind)

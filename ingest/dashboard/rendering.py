"""Templates made into pages, and the files that they load: from memory, none from elsewhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.api.files import in_time
from ingest.dashboard.replies import Page
from ingest.dashboard.routes import Visit
from ingest.dashboard.text import shown
from ingest.store.accounts import Role
from ingest.web.pages import COMMON, File, read

if TYPE_CHECKING:
    from jinja2 import Template

_STATIC: Final = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}
_PREFIX: Final = "/static/"


class Rendering:
    """Makes pages."""

    def __init__(self) -> None:
        self._files = {
            f"{_PREFIX}{name}": File(_read(name), kind) for name, kind in _STATIC.items()
        }

        self._templates: Mapping[str, Template] | None = None

    def file(self, path: str) -> File | None:
        """Return what lies at a path that every page may load; None for none."""
        return self._files.get(path)

    async def page(self, visit: Visit, page: Page) -> bytes:
        """Return a page as HTML."""
        if self._templates is None:
            self._templates = await in_time(_compiled)
        now = datetime.now(UTC)
        values: dict[str, Any] = {"visit": visit, "links": self._links, "now": now, **page.values}
        return self._templates[page.template].render(values).encode()

    @property
    def _links(self) -> Mapping[str, str]:
        return {
            path.removeprefix(_PREFIX): f"{path}?v={file.version}"
            for path, file in self._files.items()
        }


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
    made.globals |= {"Role": Role}
    return {name: made.get_template(name) for name in texts}


def moment(time: datetime | None, zone: str = "UTC") -> str:
    """Return a time to the minute in a zone, which is named."""
    if time is None:
        return "never"
    return f"{time.astimezone(ZoneInfo(zone) if zone != 'UTC' else UTC):%Y-%m-%d %H:%M} {zone}"


def _read(name: str) -> bytes:
    if name == "favicon.svg":
        return read(name)
    body = (files("ingest.dashboard") / name).read_bytes()
    return read(COMMON) + body if name.endswith(".css") else body

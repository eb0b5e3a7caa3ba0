"""Templates made into pages."""

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.api.files import in_time
from ingest.dashboard import assets, query
from ingest.dashboard.assets import Asset
from ingest.dashboard.ranges import PRESETS
from ingest.dashboard.replies import Page, Part
from ingest.dashboard.routes import Visit
from ingest.dashboard.rows import person_path
from ingest.dashboard.text import count_of, moved, number, shown, size_of, span_of
from ingest.store.accounts import Role
from ingest.web.highlight import highlight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

_LATER: Final = "<!-- later -->"
"""Where a page goes on; what others wrote has no `<` left."""


class Rendering:
    """Makes pages."""

    def __init__(self) -> None:
        self._assets = assets.read_all()
        self._links = assets.links(self._assets)
        self._templates: Mapping[str, Template] | None = None

    def asset(self, path: str) -> Asset | None:
        """Return what lies at a path that every page may load; None for none."""
        return self._assets.get(path)

    async def page(self, visit: Visit, page: Page | Part) -> bytes:
        """Return a page, or a part of one, as HTML."""
        if self._templates is None:
            self._templates = await in_time(_compiled)
        now = datetime.now(UTC)
        values: dict[str, Any] = {"visit": visit, "links": self._links, "now": now, **page.values}
        return self._templates[page.template].render(values).encode()

    async def around(self, visit: Visit, page: Page) -> tuple[bytes, bytes]:
        """Return what a page has before its parts, and behind them."""
        whole = await self.page(visit, page._replace(values={**page.values, "later": _Later()}))
        before, _, behind = whole.partition(_LATER.encode())
        return before, behind


class _Later:
    """Stands where a page's parts come."""

    def __html__(self) -> str:
        """Return it as HTML, so that it is not escaped."""
        return _LATER


def _compiled() -> "Mapping[str, Template]":
    """Return all templates; takes a moment, in a thread, when the first page is asked for."""
    from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415 - of the extra

    place = files("ingest.dashboard") / "templates"
    texts = {each.name: highlight(each.read_text(encoding="utf-8")) for each in place.iterdir()}
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=DictLoader(texts),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": shown,
        "moment": moment,
        "minute": minute,
        "number": number,
        "clock": clock,
        "size": size_of,
        "span": span_of,
        "short": query.short,
    }
    made.globals |= {
        "Role": Role,
        "counted": count_of,
        "link": query.link,
        "without": query.without,
        "with_filter": query.with_filter,
        "phrases": query.phrases,
        "short": query.short,
        "moved": moved,
        "range_of": range,
        "operators": query.OPERATORS,
        "presets": PRESETS,
        "person_path": person_path,
    }
    return {name: made.get_template(name) for name in texts}


def moment(time: datetime | None, zone: str = "UTC") -> str:
    """Return a time to the minute in a zone, which is named."""
    if time is None:
        return "never"
    return f"{time.astimezone(ZoneInfo(zone) if zone != 'UTC' else UTC):%Y-%m-%d %H:%M} {zone}"


def clock(time: datetime, zone: str | ZoneInfo) -> str:
    """Return a time to the millisecond as a zone's clock shows it; the zone is named beside it."""
    shown_in = zone if isinstance(zone, ZoneInfo) else ZoneInfo(zone)
    local = time.astimezone(shown_in).replace(tzinfo=None)
    return local.isoformat(" ", "milliseconds")


def minute(time: datetime, zone: str) -> str:
    """Return a time to the minute in a zone that is named beside it."""
    return f"{time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"

"""From a figure to the events and the people behind it: the addresses that list them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ingest.dashboard import ranges
from ingest.dashboard.query import Pairs, address, condition
from ingest.dashboard.views.view import Wanted, asked_of
from ingest.insights.answers import Kind

_VALUES_MAX: Final = 20
"""Of so many values it can be said that others are meant."""


class Behind(NamedTuple):
    """Where the events of one app are listed, of one question."""

    app_id: int
    zone: ZoneInfo
    is_apps_zone: bool
    where: Sequence[str]
    breakdown: str | None

    def events(self, name: str | None, group: Pairs | None, start: datetime, end: datetime) -> str:
        """Return the address of the events of a name, a group and a range; empty for no group."""
        if group is None:
            return ""
        named = [("event", name)] if name is not None else []
        filters = [("where", each) for each in self.where]
        since, until = (ranges.written(each, self.zone) for each in (start, end))
        zone = [] if self.is_apps_zone else [("timezone", str(self.zone))]
        query = [*named, *filters, *group, ("from", since), ("to", until), *zone]
        return address(f"/apps/{self.app_id}/explore", query)

    def group(self, kind: Kind, value: str | None, others: Sequence[str]) -> Pairs | None:
        """Return the filters that mean a group, where `others` have groups of their own."""
        field = self.breakdown
        if kind == "all" or field is None:
            return []
        if kind == "value":
            return [("where", condition(field, "eq", value or ""))]
        if kind == "none":
            return [("where", condition(field, "missing", ""))]
        if len(others) > _VALUES_MAX:
            return None
        unlike = [("where", condition(field, "ne", each)) for each in others]
        return [("where", condition(field, "exists", "")), *unlike]


class Who(NamedTuple):
    """Where people are listed, of the figures of one answer."""

    path: str
    query: Pairs

    def behind(self, kind: Kind, value: str | None, **figure: str) -> str:
        """Return the address of those behind a figure of a group."""
        group = [] if kind == "all" else [("group", kind)]
        named = [("value", value)] if value is not None else []
        return address(self.path, [*self.query, *group, *named, *figure.items()])


def who(wanted: Wanted, view: str) -> Who:
    """Return where people are listed of what a view shows."""
    path = f"/apps/{wanted.visit.app.id}/{view}/people"
    return Who(path, [*asked_of(wanted.query).items()])

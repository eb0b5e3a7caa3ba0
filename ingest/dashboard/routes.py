"""Which path is what, and whose: each route says who may use it, and nothing else decides that."""

import re
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import NamedTuple

from aiohttp import web

from ingest.dashboard.forms import Form
from ingest.dashboard.problems import not_found
from ingest.dashboard.replies import Reply
from ingest.dashboard.services import Services
from ingest.store.accounts import Role
from ingest.store.app_settings import AppSettings
from ingest.store.sessions import Session


class Access(Enum):
    """Who may use a route."""

    ANYBODY = "anybody"
    SIGNED_IN = "whoever has signed in"
    VIEWER = "a viewer of the app"
    MEMBER = "a member of the app"
    OWNER = "an owner of the app"
    ADMIN = "an administrator"

    @property
    def role(self) -> Role | None:
        """Return the role in the app that its path names; None if it takes none."""
        return _ROLES.get(self)


_ROLES = {Access.VIEWER: Role.VIEWER, Access.MEMBER: Role.MEMBER, Access.OWNER: Role.OWNER}


class Sends(Enum):
    """What the form of a route sends, which bounds its size."""

    FIELDS = "some fields"
    EVENT = "a whole event"
    """Read once it is known whose it is."""


class Needs(Enum):
    """What a route can't do without."""

    POSTGRES = "Postgres"
    MEMORY = "what the processes of the server share"
    """While Postgres is away, whoever was seen of late is let in."""


class Visit:
    """One request; what its route needs to know is there once it is let in."""

    form: Form
    """Empty unless it is a POST."""
    app: AppSettings
    """Which app it is about, on routes that name one."""
    role: Role
    """What its sender is in that app."""

    def __init__(self, services: Services, request: web.BaseRequest) -> None:
        self.services = services
        self.request = request
        self.page = "nowhere"
        """Which route it is; the path itself may hold a secret."""
        self.parts: Sequence[str] = ()
        """Those of the path that its pattern leaves open, behind that of the app."""
        self.form = {}
        self.found: Session | None = None
        """Of whoever sends it; None of who has not signed in."""
        self.trouble = ""
        """Why Postgres could not be asked who sends it, on pages that do without."""

    @property
    def session(self) -> Session:
        """Whose it is, on routes that need it."""
        if self.found is None:
            raise not_found()
        return self.found

    @property
    def email(self) -> str:
        """Whose it is, as changes are noted."""
        return self.session.account.email

    @property
    def names_app(self) -> bool:
        """Whether its path names an app."""
        return hasattr(self, "app")

    @property
    def number(self) -> int:
        """The number in its path, but for that of the app."""
        return int(self.parts[0])


Handler = Callable[[Visit], Awaitable[Reply]]


class Route(NamedTuple):
    """One method of one kind of path."""

    method: str
    path: str
    """`{app}` stands for the number of an app, `{number}` for another one, `{kind}` for what a key
    may do, `{token}` for what a link holds, `{id}` for the id of an event."""
    access: Access
    handler: Handler
    sends: Sends = Sends.FIELDS
    needs: Needs = Needs.POSTGRES

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what its paths match."""
        return re.compile(
            self.path.replace("{app}", r"(?P<app>[1-9][0-9]{0,8})")
            .replace("{number}", r"([1-9][0-9]{0,8})")
            .replace("{kind}", r"(read|write)")
            .replace("{token}", r"([A-Za-z0-9_-]{20,100})")
            .replace("{id}", r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
        )

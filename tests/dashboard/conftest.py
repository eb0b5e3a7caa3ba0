"""One server for all tests of a module, and people who visit its dashboard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from ingest.store.accounts import Role
from ingest.store.sign_in_links import Link
from tests.api.asked import Asked, asked_server
from tests.dashboard.eye import LOOKS, Eye, opened
from tests.dashboard.visitor import Visitor, invited
from tests.support.postgres import fetch

Apps = dict[str, int]
"""The numbers of both apps, by name."""
Admit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def asked(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server of the module's own, with the apps `one` and `two`."""
    path = tmp_path_factory.mktemp("archive")
    with asked_server(
        shared_database_url,
        path,
        limits__body_timeout_s=3,
        archive__interval_s=5,
        dashboard__trusted_proxies="127.0.0.1",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def apps(asked: Asked) -> Apps:
    """The numbers of its apps."""
    rows = asyncio.run(fetch(asked.database_url, "SELECT name, id FROM apps"))
    return {row["name"]: row["id"] for row in rows}


@pytest.fixture
def own_app(asked: Asked, apps: Apps) -> str:
    """An app of the test's own, by its name: nobody else's events are in it."""
    name = f"own {len(apps)}"
    asked.add_app(name)
    ((apps[name],),) = asyncio.run(
        fetch(asked.database_url, "SELECT id FROM apps WHERE name = $1", name)
    )
    return name


@pytest.fixture
def visitor(asked: Asked) -> Visitor:
    """Somebody who has not signed in."""
    return Visitor(asked.url)


@pytest.fixture(scope="module")
def admit(asked: Asked, apps: Apps) -> Admit:
    """Make somebody with a role in an app; an administrator without one."""
    count = iter(range(1_000_000))

    def make(role: Role | None = None, app: str = "one") -> Visitor:
        link = Link() if role is None else invited(apps[app], role)
        return Visitor(asked.url).join(asked.database_url, link, f"p{next(count)}@example.com")

    return make


@pytest_asyncio.fixture(params=LOOKS.values(), ids=[*LOOKS], loop_scope="session")
async def eye(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Eye]:
    """Somebody who looks at pages, with each of the looks."""
    async with opened(browser, request.param) as made:
        yield made

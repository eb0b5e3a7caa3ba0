"""The first sign-in: a link for whoever sits at the terminal at which the server was started."""

import structlog

from ingest.store import accounts, sign_in_links
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.postgres import Connection, Postgres
from ingest.store.sign_in_links import Link

log = structlog.get_logger(__name__)


async def tell(postgres: Postgres, dashboard: str, *, may_show: bool) -> str:
    """Return how to sign in where nobody has an account yet, and a link if that may be shown.

    Empty if somebody has one, and while Postgres can't tell.
    """
    try:
        async with postgres.session() as connection:
            return await _tell(connection, dashboard, may_show=may_show)
    except (Unavailable, RowRefused) as failure:  # the tables may follow while it serves
        log.info("nobody is told how to sign in", reason=str(failure))
        return ""


async def _tell(connection: Connection, dashboard: str, *, may_show: bool) -> str:
    if await accounts.exist(connection):
        return ""
    if not may_show:
        return "Nobody can sign in yet: nonito login prints a link"
    token = await sign_in_links.make(connection, Link())
    return f"Your dashboard, by a link that opens once: {dashboard}/welcome/{token}"

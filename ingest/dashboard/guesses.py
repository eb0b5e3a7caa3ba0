"""Guesses at a password: each counts before it is known, so that many at once are many."""

import math

from ingest.dashboard.problems import busy
from ingest.dashboard.routes import Visit
from ingest.store import accounts
from ingest.store.accounts import Account


async def account_of(visit: Visit, email: str, password: str) -> Account | None:
    """Return the account that has this address and password; None without one. Raises Problem."""
    services, address = visit.services, visit.request.remote or ""
    if wait_s := services.backoff.wait_s(email, address):
        raise busy(math.ceil(wait_s))
    services.backoff.note_failure(email, address)
    found = await services.kept.read(lambda connection: accounts.find(connection, email))
    account, kept = found or (None, None)
    if not await services.passwords.is_right(password, kept):
        return None
    services.backoff.note_success(email, address)
    return account

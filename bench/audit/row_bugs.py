"""Seeded bugs of what the server makes of rows that Postgres does not take."""

from bench.audit.patch import replace
from ingest.delivery.commit import Commit, Part
from ingest.delivery.committer import Committer
from ingest.delivery.replay import Replayer
from ingest.store.failures import Outage, RowRefused, Unavailable


def parcel_blocks() -> None:
    """Have what Postgres refuses come first again, and nothing behind it go on."""
    original = Committer._try  # noqa: SLF001

    async def try_(self: Committer, commit: Commit, part: Part) -> int:
        if not self._is_patient:
            return await original(self, commit, part)
        try:
            commit.earlier += await self._send(commit.rows_of(part))
        except RowRefused as bad:
            lost = Outage.CONNECTION_LOST
            raise Unavailable(bad.reason, stored=False, outage=lost) from None
        return 0

    replace(Committer, "_try", try_)
    replace(Replayer, "_is_hopeless", lambda *_: False)

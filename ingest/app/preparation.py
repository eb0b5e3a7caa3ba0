"""The preparation: schema, partitions, and the proof that this is the spool's own database.

Before anything is taken out of the spool, or put into a table; late, where Postgres is away at the
start.
"""

from uuid import UUID

from ingest.app.database import prepare_to_serve
from ingest.errors import StartupError
from ingest.spool import Spool, SpoolFailed, SpoolFull
from ingest.store import identity, migrations
from ingest.store.failures import Outage, Unavailable
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres


class Preparation:
    """What a server does once with its database."""

    def __init__(self, postgres: Postgres, partitions: Partitions, spool: Spool | None) -> None:
        self._postgres = postgres
        self._partitions = partitions
        self._spool = spool
        self._is_done = False

    async def open_spool(self) -> None:
        """Open the spool, which knows which database is meant; raise StartupError."""
        if self._spool is not None:
            await self._spool.open()
            self._postgres.database_id = self._spool.database_id

    async def wait_and_prepare(self, timeout_s: float) -> None:
        """Prepare a database that has to be there in this time; raise StartupError."""
        await prepare_to_serve(self._postgres, self._partitions, timeout_s)
        await self._identify()
        self._is_done = True

    async def prepare(self) -> None:
        """Prepare it now; raise Unavailable or StartupError."""
        await migrations.migrate_to_serve(self._postgres)
        await self._partitions.ensure()
        await self._identify()
        self._is_done = True

    async def prepare_late(self) -> None:
        """Prepare it unless that is done, in a server that is running; raise Unavailable."""
        if self._is_done:
            return
        try:
            await self.prepare()
        except StartupError as error:  # such as a newer schema: an operator's to mend, and spooled
            raise Unavailable(str(error), stored=False, outage=Outage.FAILING) from error

    async def reclaim(self) -> None:
        """Have the spool to ourselves before anything is known of Postgres; raise StartupError."""
        if self._postgres.database_id is not None:
            await self._claim(self._postgres.database_id)

    async def _identify(self) -> None:
        """Find out which database this is, and have it to ourselves; raise Unavailable.

        A spool without an owner becomes its own now. From then on no other one will do.
        """
        async with self._postgres.session() as connection:
            found = await self._postgres.identify(connection)
            if found is None:
                raise StartupError(identity.MISSING)
            await self._claim(found)
            self._postgres.require(found)

    async def _claim(self, database_id: UUID) -> None:
        """Make the spool a database's, or see whose it is instead; raise StartupError."""
        self._postgres.database_id = database_id
        if self._spool is not None:
            try:
                self._postgres.database_id = await self._spool.claim(database_id)
            except (SpoolFull, SpoolFailed) as failed:
                raise StartupError(f"the spool can't be used: {failed}") from failed

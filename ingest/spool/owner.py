"""Which database a spool directory belongs to: its events are brought to no other one.

The file `database_id` says it, on its first line; on further lines there are databases whose files
were given to the first (`nonito spool adopt`). It is there, durably, before the first file with
the database's id in its name, and each process that uses the directory goes by it. Without one the
directory belongs to the first database that it is used with, and so do all files that have no id in
their names: those of the version before.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from ingest.disk import make_directory, sync_directory
from ingest.spool.failures import StorageDamaged, StorageFailed, describe, is_disk_full
from ingest.spool.storage import Storage

log = structlog.get_logger(__name__)

NAME: Final = "database_id"
_MODE: Final = 0o600
_BYTES_MAX: Final = 64 * 1024


class Owner(NamedTuple):
    """The database that a directory belongs to."""

    database_id: UUID
    given: frozenset[UUID] = frozenset()
    """Databases whose files it was given as well."""

    def has(self, database_id: UUID | None) -> bool:
        """Whether a file with this id in its name, or with none, is the owner's."""
        return database_id is None or database_id == self.database_id or database_id in self.given


def read(directory: Path) -> Owner | None:
    """Return whose a directory is; None if it is nobody's. Raises OSError or StorageDamaged."""
    try:
        with (directory / NAME).open("rb") as file:
            content = file.read(_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        first, *given = map(UUID, content.decode().split())
    except ValueError:
        raise StorageDamaged(f"its file {NAME} is damaged (nonito spool adopt)") from None
    return Owner(first, frozenset(given))


def claim(directory: Path, database_id: UUID) -> Owner:
    """Make a directory a database's unless it has one; return whose it is. Raises what `read` does.

    Of several processes that claim it at once, the first has it.
    """
    if found := read(directory):
        return found
    made = Owner(database_id)
    try:
        _write(directory, made, os.link)
    except FileExistsError:
        return read(directory) or made
    return made


def give(directory: Path, database_id: UUID, files_of: frozenset[UUID]) -> Owner:
    """Make a directory a database's, whoever had it, with files of others; may raise OSError."""
    made = Owner(database_id, files_of - {database_id})
    _write(directory, made, os.replace)
    return made


class Ownership:
    """What one process knows of whose the directory is, and that it is there.

    Any method may raise what FAILURES lists, unless it says otherwise.
    """

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self.database_id: UUID | None = None
        """Whose events this process spools and replays; None as long as nobody has claimed them."""
        self._was_there = False

    def open(self) -> None:
        """Make the directory, and see whose it is."""
        found = self._secure()
        self.database_id = found.database_id if found else None

    def claim(self, database_id: UUID) -> UUID:
        """Make the directory a database's unless it has one; return whose it is."""
        make_directory(self._directory)
        try:
            self.database_id = claim(self._directory, database_id).database_id
        except OSError as error:
            if not is_disk_full(error):
                raise
            self.database_id = database_id  # it is nobody's; `require` writes it when there is room
        return self.database_id

    def require(self) -> None:
        """Have the directory there, and fail if it was given to somebody else meanwhile."""
        found = self._secure()
        if found and self.database_id not in (None, found.database_id):
            raise StorageFailed(f"the directory {self._directory} is another database's now")

    def look(self) -> Callable[[str], bool]:
        """Have the directory there; return what tells of a file's name whether it is ours."""
        try:
            found = self._secure()
        except OSError as error:
            if not is_disk_full(error):
                raise
            found = Owner(self.database_id) if self.database_id else None

        def is_ours(name: str) -> bool:
            database_id = self._storage.database_of(name)
            if found is None:
                return database_id is None
            return found.database_id == self.database_id and found.has(database_id)

        return is_ours

    def _secure(self) -> Owner | None:
        """Make the directory if it is not there; return whose it is by now."""
        try:
            was_deleted = self._was_there and not self._directory.exists()
            make_directory(self._directory)
            self._was_there = True
            if was_deleted:
                log.error("somebody deleted the spool directory", made_again=str(self._directory))
            if self.database_id is None:
                return read(self._directory)
            return claim(self._directory, self.database_id)
        except OSError as error:
            if is_disk_full(error):
                raise
            raise StorageFailed(f"the directory {self._directory}: {describe(error)}") from error


def _write(directory: Path, owner: Owner, put: Callable[[Path, Path], None]) -> None:
    """Have the file there in whole, durably, by os.link or os.replace."""
    new = directory / f"{NAME}.{secrets.token_hex(4)}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, _MODE), "wb") as file:
            if os.geteuid() == 0:  # for the server, whose directory it is
                found = directory.stat()
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            file.write("".join(f"{each}\n" for each in (owner[0], *sorted(owner.given))).encode())
            file.flush()
            os.fsync(file.fileno())
        put(new, directory / NAME)
        sync_directory(directory)
        sync_directory(directory.parent)  # somebody else may have made it, as the keyring does
    finally:
        new.unlink(missing_ok=True)

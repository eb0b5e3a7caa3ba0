"""Archives that are not of this database, or not whole: noticed, said, and made anew."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.archive.failures import Damaged, Moved, NotHere
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from tests.archive.archiving import archive, ask, assert_exact, files, seen, store, tail_rows
from tests.conftest import OWN_DATABASE
from tests.support.postgres import new_database, passable_directory

pytestmark = pytest.mark.slow

_STATE = "SELECT archive_id::text FROM archive_state"
TIMEOUT_S = 60.0


def archive_id(url: str) -> str:
    """Return which archive counts."""
    return str(ask(url, _STATE)[0][0])


def assert_begun_anew(url: str, path: Path, before: str) -> None:
    """Assert that the next round makes another archive, in which everything is."""
    archive(url, path)
    assert archive_id(url) != before
    assert tail_rows(url, path) == 0
    assert_exact(url, path)


@pytest.fixture
def archived(url: str, path: Path) -> str:
    """The database with an archive of three events, whose id this is."""
    store(url, [{"n": n} for n in range(3)])
    archive(url, path)
    return archive_id(url)


def test_archive_is_made_anew_when_a_file_is_missing(url: str, path: Path, archived: str) -> None:
    """As after a restore of an older directory, of which parts were merged since."""
    store(url, [{}])
    archive(url, path)
    files(path)[0].unlink()
    assert_begun_anew(url, path, archived)


def test_archive_is_made_anew_when_a_file_is_cut_short(url: str, path: Path, archived: str) -> None:
    """As by a full disk, or a copy that was interrupted."""
    os.truncate(files(path)[0], 100)
    assert_begun_anew(url, path, archived)


def test_archive_is_made_anew_when_a_file_is_another(url: str, path: Path, archived: str) -> None:
    """Its checksum says so, though it is as long."""
    file = files(path)[0]
    whole = bytearray(file.read_bytes())
    whole[50] ^= 1
    file.write_bytes(whole)
    archive_until_whole(url, path)
    assert archive_id(url) != archived
    assert_exact(url, path)


def archive_until_whole(url: str, path: Path) -> None:
    """Archive twice: the first round ends with what it has found."""
    with pytest.raises(Damaged):
        archive(url, path)
    archive(url, path)


def test_directory_that_is_newer_than_the_database_is_used_up_to_what_counts(
    url: str, path: Path, archived: str
) -> None:
    """As after the database alone went back: files that it does not name are nobody's."""
    kept = ask(url, "SELECT mark FROM archive_state")
    store(url, [{"n": "gone"}])
    archive(url, path)
    ask(url, "DELETE FROM events WHERE event_params ->> 'n' = 'gone'")
    ask(url, "DELETE FROM archive_files WHERE mark > $1", kept[0][0])
    ask(url, "UPDATE archive_state SET mark = $1", kept[0][0])
    assert_exact(url, path)
    store(url, [{"n": "new"}])
    archive(url, path)
    assert archive_id(url) == archived
    assert_exact(url, path)


def test_directory_of_another_archive_is_left_alone_while_somebody_works_on_ours(
    url: str, archived: str, tmp_path: Path
) -> None:
    """Servers with a directory each do not take turns in making everything anew."""
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(NotHere, match="all servers need one"):
        archive(url, elsewhere)
    with pytest.raises(NotHere):
        seen(url, elsewhere)
    assert archive_id(url) == archived
    ask(url, "UPDATE archive_state SET changed_at = now() - interval '1 hour'")
    assert_begun_anew(url, elsewhere, archived)


def test_two_databases_in_one_directory_do_not_touch_each_other(
    url: str, path: Path, archived: str, cluster: Cluster
) -> None:
    """Each archive is in a directory of its own id."""
    with new_database(cluster) as other:
        ask(other, "INSERT INTO apps (name) VALUES ('one')")
        store(other, [{}] * 5)
        archive(other, path)
        for each in path.iterdir():
            os.utime(each, (0, 0))
        archive(url, path)
        assert_exact(other, path)
    assert_exact(url, path)
    assert archive_id(url) == archived


def test_archive_that_was_given_up_is_deleted_after_a_while(
    url: str, path: Path, archived: str
) -> None:
    """Only those of this database."""
    files(path)[0].unlink()
    archive(url, path)
    assert (path / archived).is_dir()
    os.utime(path / archived, (0, 0))
    archive(url, path)
    assert not (path / archived).exists()
    assert_exact(url, path)


@pytest.mark.parametrize("change", ["timeline = 77", "system_identifier = '1/2'"])
def test_column_is_made_anew_when_transactions_are_counted_elsewhere(
    change: str, own_url: str, path: Path
) -> None:
    """Old numbers say nothing then: they may be used again, or be far ahead."""
    ask(own_url, "INSERT INTO apps (name) VALUES ('one')")
    store(own_url, [{"n": n} for n in range(3)])
    archive(own_url, path)
    before = archive_id(own_url)
    ask(own_url, "UPDATE events SET xact = 1 << 40")
    ask(own_url, f"UPDATE archive_state SET {change}")
    with pytest.raises(Moved):
        seen(own_url, path)
    assert_begun_anew(own_url, path, before)
    assert ask(own_url, "SELECT count(xact) FROM events") == [(0,)]
    store(own_url, [{}])
    assert tail_rows(own_url, path) == 1
    assert_begun_same(own_url, path)


def assert_begun_same(url: str, path: Path) -> None:
    """Assert that the next round goes on with the archive that there is."""
    before = archive_id(url)
    archive(url, path)
    assert archive_id(url) == before
    assert_exact(url, path)


def test_back_up_that_is_restored_elsewhere_gets_an_archive_of_its_own(
    own_url: str, path: Path, new_cluster: Cluster, tmp_path: Path
) -> None:
    """By pg_dump and pg_restore, into a Postgres whose transactions have other numbers."""
    ask(own_url, "INSERT INTO apps (name) VALUES ('one')")
    for n in range(30):  # so that its numbers are higher than those of the other one
        store(own_url, [{"n": n}])
    archive(own_url, path)
    before = archive_id(own_url)
    dump = tmp_path / "dump"
    programs = find_programs()
    target = new_cluster.url("restored")
    new_cluster.create_database("restored")
    commands: tuple[list[str | Path], ...] = (
        [programs / "pg_dump", "-Fc", "-f", dump, own_url],
        [programs / "pg_restore", "--no-owner", "-d", target, dump],
    )
    for command in commands:
        subprocess.run(command, check=True, timeout=TIMEOUT_S)
    store(target, [{"n": "new"}])
    with pytest.raises(Moved):
        seen(target, path)
    assert_begun_anew(target, path, before)
    store(target, [{"n": "newer"}])
    assert_begun_same(target, path)
    assert_exact(own_url, path)


@contextmanager
def promoted_standby(primary: Cluster) -> Iterator[Cluster]:
    """Copy a cluster as a standby does it, without what comes after, and promote it."""
    programs = find_programs()
    with passable_directory() as directory:
        standby = Cluster(directory, programs)
        standby.make_directory()
        owner = (primary.directory / "postgres").stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        (directory / "run").mkdir(mode=0o700)
        os.chown(directory / "run", owner.st_uid, owner.st_gid)
        subprocess.run(
            [
                programs / "pg_basebackup",
                *("-D", directory / "postgres", "-X", "stream", "-R", "-c", "fast"),
                *("-d", primary.url("postgres")),
            ],
            check=True,
            timeout=TIMEOUT_S,
            user=owner.st_uid,
            group=owner.st_gid,
            cwd="/",
        )
        standby.create()
        standby.start("max_connections=300")  # no fewer than the primary has
        try:
            standby.execute("SELECT pg_promote(true, 60)")
            yield standby
        finally:
            standby.stop("immediate")
            shutil.rmtree(directory, ignore_errors=True)


def test_standby_that_is_promoted_gets_an_archive_anew(own_cluster: Cluster, path: Path) -> None:
    """What the primary has archived since the standby lost touch may not be there any more."""
    url = own_cluster.url(OWN_DATABASE)
    ask(url, "INSERT INTO apps (name) VALUES ('one')")
    store(url, [{"n": n} for n in range(3)])
    archive(url, path)
    before = archive_id(url)
    with promoted_standby(own_cluster) as standby:
        promoted = standby.url(OWN_DATABASE)
        store(promoted, [{"n": "new"}])
        with pytest.raises(Moved):
            seen(promoted, path)
        assert_begun_anew(promoted, path, before)
        store(promoted, [{"n": "newer"}])
        assert_begun_same(promoted, path)

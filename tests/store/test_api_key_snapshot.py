"""The keys known last: in a file that a restart without Postgres reads, or that counts as none."""

import stat
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from ingest.metering.rate_limits import RateLimits
from ingest.store.api_key_snapshot import NAME, ApiKeySnapshot, KnownKey, KnownKeys
from ingest.store.apps import App
from ingest.store.key_limits import KeyLimits

KEYS = [
    KnownKey(b"\0" * 32, App(1, "shop")),
    KnownKey(b"\xff" * 32, App(2, "blog"), 1_800_000_000.5),
]
LIMITED = KnownKey(b"l" * 32, App(1, "shop"), None, KeyLimits(("https://shop.example",), ("a",)))


def test_keys_come_back_as_they_were(tmp_path: Path) -> None:
    """Also from a directory that was not there, and only the last ones."""
    snapshot = ApiKeySnapshot(tmp_path / "spool")
    first, last = KnownKeys(uuid4(), KEYS[:1]), KnownKeys(uuid4(), [*KEYS, LIMITED])
    snapshot.keep(first)
    snapshot.keep(last)
    assert ApiKeySnapshot(tmp_path / "spool").read() == last
    assert [each.name for each in (tmp_path / "spool").iterdir()] == [NAME]


def test_keys_that_the_versions_before_kept_are_known(tmp_path: Path) -> None:
    """An upgrade in the middle of an outage locks nobody out. It is not said whose they are."""
    (tmp_path / NAME).write_bytes(msgspec.json.encode(KEYS))
    assert ApiKeySnapshot(tmp_path).read() == KnownKeys(None, KEYS)
    before = [
        {"secret_sha256": key.secret_sha256, "app_id": key.app.id, "expires_s": key.expires_s}
        for key in KEYS
    ]
    (tmp_path / NAME).write_bytes(msgspec.json.encode(before))
    keys = [KnownKey(key.secret_sha256, App(key.app.id), key.expires_s) for key in KEYS]
    assert ApiKeySnapshot(tmp_path).read() == KnownKeys(None, keys)


def test_keys_of_the_version_without_limits_are_known(tmp_path: Path) -> None:
    """It knew of none, and said which database it was."""
    database_id = uuid4()
    kept = [
        {"secret_sha256": key.secret_sha256, "app": key.app, "expires_s": key.expires_s}
        for key in KEYS
    ]
    content = {"database_id": database_id, "keys": kept}
    (tmp_path / NAME).write_bytes(msgspec.json.encode(content))
    assert ApiKeySnapshot(tmp_path).read() == KnownKeys(database_id, KEYS)


RATED = KnownKey(
    b"r" * 32,
    App(1, "shop"),
    key_id=7,
    rate_limits=RateLimits(events_per_day=5),
    app_rate_limits=RateLimits(events_per_second=10, events_burst=20, bytes_per_day=30),
    timezone="Europe/Berlin",
)


class KeyBefore(msgspec.Struct, frozen=True):
    """A key as the version reads it that knows nothing of rate limits."""

    secret_sha256: bytes
    app: App
    expires_s: float | None = None
    limits: KeyLimits | None = None


def test_rate_limits_come_back_and_the_version_before_reads_keys_without_them(
    tmp_path: Path,
) -> None:
    """Two versions may have one directory while servers are replaced; nobody is locked out."""
    keys = [*KEYS, LIMITED, RATED]
    ApiKeySnapshot(tmp_path).keep(KnownKeys(uuid4(), keys))
    known = ApiKeySnapshot(tmp_path).read()
    assert known is not None
    assert known.keys == keys
    content = msgspec.json.decode((tmp_path / NAME).read_bytes(), type=dict[str, msgspec.Raw])
    before = msgspec.json.decode(content["keys"], type=list[KeyBefore])
    assert before == [
        KeyBefore(each.secret_sha256, each.app, each.expires_s, each.limits) for each in keys
    ]


def test_rate_limits_that_can_not_be_understood_open_nothing(tmp_path: Path) -> None:
    """As other limits."""
    ApiKeySnapshot(tmp_path).keep(KnownKeys(uuid4(), [RATED]))
    path, known = tmp_path / NAME, '{"events_per_day":5}'
    text = path.read_text()
    assert known in text
    path.write_text(text.replace(known, '{"events_per_day":"5 or so"}'))
    assert ApiKeySnapshot(tmp_path).read() is None


@pytest.mark.parametrize("limits", ["[1]", '["a"]', "[[],[],[]]", "{}", "7"])
def test_limits_that_can_not_be_understood_open_nothing(tmp_path: Path, limits: str) -> None:
    """As those of a later version might be: rather no key than one without its limits."""
    ApiKeySnapshot(tmp_path).keep(KnownKeys(uuid4(), [LIMITED]))
    path, known = tmp_path / NAME, '[["https://shop.example"],["a"]]'
    text = path.read_text()
    assert known in text
    path.write_text(text.replace(known, limits))
    assert ApiKeySnapshot(tmp_path).read() is None


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    """They are digests, but whose keys they are is nobody's business."""
    ApiKeySnapshot(tmp_path).keep(KnownKeys(uuid4(), KEYS))
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'[{"app_id":1}]', b"[1]", b"\xff\xfe"])
def test_file_that_can_not_be_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    """A crash or a stranger may have left anything there."""
    (tmp_path / NAME).write_bytes(content)
    assert ApiKeySnapshot(tmp_path).read() is None


def test_no_file_and_a_directory_that_takes_none_are_no_failure(tmp_path: Path) -> None:
    """Postgres has the keys, too."""
    (tmp_path / "file").write_bytes(b"")
    snapshot = ApiKeySnapshot(tmp_path / "file")
    snapshot.keep(KnownKeys(uuid4(), KEYS))
    assert snapshot.read() is None
    assert ApiKeySnapshot(tmp_path / "missing").read() is None

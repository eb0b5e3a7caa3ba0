"""The header `Idempotency-Key`: which are taken, and what they become."""

import hashlib

import pytest

from ingest.errors import Code, Refusal
from ingest.http.idempotency import CHARS_MAX, digest_of

TAKEN = ["a", "a b", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~", "x" * CHARS_MAX, "a,b", "\\"]
REFUSED = [
    [""],
    [" \t "],
    ["x" * (CHARS_MAX + 1)],
    ["a\tb"],
    ["a\x7f"],
    ["a\n"],
    ["ü"],
    ["\udcff"],
    ["a", "a"],
    ["a", ""],
    ["", "a"],
]


@pytest.mark.parametrize("key", TAKEN)
def test_key_becomes_the_beginning_of_its_digest(key: str) -> None:
    """As it was sent, but for spaces at its ends."""
    assert digest_of([key]) == hashlib.sha256(key.encode()).digest()[:16]
    assert digest_of([f" {key}\t"]) == digest_of([key])


def test_different_keys_become_different_bytes() -> None:
    """Letter case, quotes and inner spaces count."""
    keys = ["a", "A", '"a"', "a a", "a  a", "'a'"]
    assert len({digest_of([key]) for key in keys}) == len(keys)


def test_no_header_is_no_key() -> None:
    """Most requests have none."""
    assert digest_of([]) is None


@pytest.mark.parametrize("fields", REFUSED)
def test_key_that_is_no_printable_text_is_refused(fields: list[str]) -> None:
    """So are two headers, and a key that is empty; the message repeats none of it."""
    with pytest.raises(Refusal) as refused:
        digest_of(fields)
    assert refused.value.code is Code.INVALID_IDEMPOTENCY_KEY
    assert refused.value.status == 400
    assert refused.value.message == (
        "Send one Idempotency-Key of 1 to 255 printable ASCII characters."
    )

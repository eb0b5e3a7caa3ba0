"""Limits of keys as people write them: understood as browsers say origins, or told why not."""

import pytest

from ingest.store import key_limits
from ingest.store.key_limits import CHARS_MAX, EACH_MAX, BadLimit, KeyLimits


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        (" HTTPS://Shop.Example/ ", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:03000", "http://localhost:3000"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://*.shop.example:8443", "https://*.shop.example:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_origin_is_kept_as_browsers_say_it(written: str, origin: str) -> None:
    """In lower case, without the usual port, without a slash; and it allows itself."""
    found = key_limits.read([written, origin], [])
    assert found == KeyLimits((origin,), ())
    assert found.allow_origin(origin.replace("*", "www"))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "shop.example",
        "https://",
        "https://shop.example/page",
        "https://shop.example?a",
        "https://shop.example#a",
        "https://ada@shop.example",
        "https://shop.example:",
        "https://shop.example:70000",
        "https://shop.example:٣",
        "https://*",
        "https://*shop.example",
        "https://shop.*.example",
        "https://*.*.example",
        "https://*.[::1]",
        "https://bücher.example",
        "https://shop .example",
        "https://shop..example",
        "https://.shop.example",
        "*",
        "null",
        "https://shop.example\nhttps://evil.example",
        "https://" + "a" * CHARS_MAX,
        "\x1b[2J\u202e<script>",
    ],
)
def test_what_is_no_origin_is_told(written: str) -> None:
    """With what was written, in characters that do nothing."""
    with pytest.raises(BadLimit, match="is no origin") as told:
        key_limits.read([written], [])
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 300


@pytest.mark.parametrize("written", ["", "  ", "a\nb", "a\0", "n" * (CHARS_MAX + 1), "\u202ea"])
def test_what_is_no_name_is_told(written: str) -> None:
    """An event has one."""
    with pytest.raises(BadLimit, match="is no event's name") as told:
        key_limits.read([], [written])
    assert str(told.value).isprintable()


def test_limits_are_so_many_and_each_is_kept_once() -> None:
    """In the order in which they were written; none are none."""
    assert key_limits.read([], []) is None
    names = [f"n{number}" for number in range(EACH_MAX)]
    origins = [f"https://h{number}.example" for number in range(EACH_MAX)]
    assert key_limits.read([*origins, *origins], [*names, *names]) == (
        KeyLimits(tuple(origins), tuple(names))
    )
    with pytest.raises(BadLimit, match=str(EACH_MAX)):
        key_limits.read([*origins, "https://h"], [])
    with pytest.raises(BadLimit, match=str(EACH_MAX)):
        key_limits.read([], [*names, "n"])


def test_limit_of_one_kind_is_none_of_the_other() -> None:
    """Any page may send events of these names; these pages may send any."""
    of_names, of_pages = KeyLimits((), ("a",)), KeyLimits(("https://shop.example",), ())
    assert of_names.allow_origin("https://evil.example")
    assert not of_names.allow_event("b")
    assert of_pages.allow_event("b")
    assert not of_pages.allow_origin("https://evil.example")

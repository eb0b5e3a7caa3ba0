"""The header `Prefer`: what of it is understood, and that nothing of it does harm."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.preferences import APPLIED, CHARS_MAX, MINIMAL, REPRESENTATION, Preferences, parse

NOTHING = Preferences()
ASYNC = Preferences(is_async=True)
BOTH = Preferences(is_async=True, content=MINIMAL)
SECONDS_MAX = 1.0

UNDERSTOOD = [
    (["respond-async"], ASYNC),
    (["Respond-ASYNC"], ASYNC),
    ([" \trespond-async\t "], ASYNC),
    (['respond-async=""'], ASYNC),
    (["respond-async;"], ASYNC),
    (["respond-async; a; b=c ;d = e"], ASYNC),
    (["respond-async, wait=10"], ASYNC),
    (["wait=10,respond-async"], ASYNC),
    (["wait=10", "respond-async"], ASYNC),
    ([",, respond-async ,\t,"], ASYNC),
    (["return=minimal"], Preferences(content=MINIMAL)),
    (["RETURN = minimal"], Preferences(content=MINIMAL)),
    (['return="minimal"'], Preferences(content=MINIMAL)),
    (['return="mini\\mal"'], Preferences(content=MINIMAL)),
    (["return=representation"], Preferences(content=REPRESENTATION)),
    (["return=minimal, return=representation"], Preferences(content=MINIMAL)),
    (["return=minimal", "respond-async"], BOTH),
    (["handling=strict"], Preferences(is_strict=True)),
    (['Handling = "strict"; a, wait=1'], Preferences(is_strict=True)),
    (["handling=strict, handling=lenient"], Preferences(is_strict=True)),
    (["respond-async; return=representation, return=minimal"], BOTH),
    (['a="b, c; \\" d", respond-async, return=minimal'], BOTH),
]
IGNORED = [
    [],
    [""],
    [" , ;"],
    ["respond"],
    ["respond-async2"],
    ["respond-async=1"],
    ["respond-async=true"],
    ["return"],
    ["return=all"],
    ["handling"],
    ["handling=lenient"],
    ["handling=lenient, handling=strict"],
    ["strict"],
    ["return=Minimal"],
    ["a; respond-async"],
    ["a=respond-async"],
    ['"respond-async"'],
    ["respond-async return=minimal"],
    ["respond-async, a b"],
    ["respond-async, ="],
    ["respond-async, a="],
    ['respond-async, a="b'],
    ['respond-async, a="b\\'],
    ["respond-async, a;="],
    ["respond-async, ü"],
    ["respond-async, a\x01"],
    ['respond-async, a="\x00"'],
    ["respond-async\n"],
    ["return=minimal, " + "a" * CHARS_MAX],
]


@pytest.mark.parametrize(("fields", "preferences"), UNDERSTOOD)
def test_preferences_are_understood(fields: list[str], preferences: Preferences) -> None:
    """In one header or several, with parameters, quotes, spaces, whatever the name's case."""
    assert parse(fields) == preferences


@pytest.mark.parametrize(
    ("fields", "applied"),
    [
        ("", {}),
        ("return=representation, handling=lenient", {}),
        ("respond-async", {APPLIED: "respond-async"}),
        ("handling=strict, return=minimal", {APPLIED: "return=minimal, handling=strict"}),
        ("handling=strict, respond-async", {APPLIED: "respond-async"}),
    ],
)
def test_answer_says_what_was_followed(fields: str, applied: dict[str, str]) -> None:
    """No answer that comes before anybody has looked was strict."""
    assert parse([fields]).applied == applied


@pytest.mark.parametrize("fields", IGNORED)
def test_what_is_unknown_or_malformed_is_ignored(fields: list[str]) -> None:
    """A malformed header counts for nothing, not even what stands in it before the fault."""
    assert parse(fields) == NOTHING


def test_the_longest_header_that_is_read() -> None:
    """To the character, over all headers together."""
    fits = ["respond-async", "a" * (CHARS_MAX - len("respond-async,"))]
    assert parse(fits) == ASYNC
    assert parse([*fits, ""]) == NOTHING


@given(st.lists(st.text(st.sampled_from('ab=;," \t\\\x01ürespond-async'), max_size=40), max_size=4))
def test_any_text_is_read_without_a_failure(fields: list[str]) -> None:
    """And respond-async is only found where it stands."""
    assert parse(fields).is_async <= ("respond-async" in ",".join(fields).lower())


@pytest.mark.parametrize("piece", [" ", ";", "; ", "a", "a,", ";a", ' ; a = "b"', '\\"', "=", "\t"])
def test_reading_takes_time_in_proportion_to_the_header(piece: str) -> None:
    """No text of the longest length makes the expression backtrack (no ReDoS)."""
    for start, end in (("", "\x01"), ("a", "\x01"), ('a="', "\x01"), ("a;", '"')):
        room = CHARS_MAX - len(start) - len(end)
        text = start + (piece * room)[:room] + end
        started_s = time.process_time()
        for _ in range(50):
            parse([text])
        assert time.process_time() - started_s < SECONDS_MAX  # measured: below 0.02

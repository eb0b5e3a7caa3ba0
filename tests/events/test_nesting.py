"""The limit of nesting: counted right, and the same for every way in."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.errors import Code, Refusal
from ingest.events import event
from ingest.events.nesting import LEVELS_MAX, is_too_deep

_KEYS = st.text(alphabet='a"\\[]{}\u00e9', max_size=5)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | _KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=30,
)


def levels(value: Any) -> int:  # noqa: ANN401 - any JSON value
    """Count by recursion."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(levels, inner), default=0)
    return 0


@given(_JSON, st.integers(LEVELS_MAX - 12, LEVELS_MAX), st.booleans())
@example([["]" * 200], "\\"], LEVELS_MAX - 2, True)
def test_levels_are_counted_as_a_parser_would(
    value: Any,  # noqa: ANN401 - any JSON value
    around: int,
    is_ascii: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever strings say, and however many brackets there are beside."""
    for level in range(around):
        value = {"a": value, "b": [{}]} if level % 2 else [[], value]
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert is_too_deep(text) is (levels(value) > LEVELS_MAX)


@pytest.mark.parametrize("field", ["event_params", "event_name", "id", "timestamp", "context"])
@pytest.mark.parametrize("depth", [LEVELS_MAX + 1, 5000, 200_000])
def test_deep_field_is_refused_by_an_error_of_the_event(field: str, depth: int) -> None:
    """Whichever field it is: no RecursionError leaves the decoder."""
    deep = '{"a":' * depth + "1" + "}" * depth
    name = "" if field == "event_name" else '"event_name":"a",'
    body = f'{{{name}"{field}":{deep}}}'.encode()
    with pytest.raises(Refusal) as caught:
        event.decode(body, 255)
    assert caught.value.status == 400
    if field == "event_params" or depth > LEVELS_MAX + 1:
        assert caught.value.code is Code.INVALID_EVENT_PARAMS

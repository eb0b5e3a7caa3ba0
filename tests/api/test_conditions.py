"""Filters as addresses have them, and nothing that is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.api.conditions import read_all
from ingest.api.refusals import Refused
from ingest.insights import fields
from ingest.insights.questions import All, Condition, Either

PRO = Condition(("params", "plan"), "eq", "pro")
FEW = Condition(("params", "n"), "lt", "5")


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        ([], None),
        (["params.plan:eq:pro"], PRO),
        (["params.plan:eq:pro", "params.n:lt:5"], All((PRO, FEW))),
        (["params.plan:eq:pro|params.n:lt:5"], Either((PRO, FEW))),
        (["name:exists"], Condition(("name",), "exists")),
        (["person:missing|params.n:lt:5"], Either((Condition(("person",), "missing"), FEW))),
        (["params.url:eq:http://x/?a:b"], Condition(("params", "url"), "eq", "http://x/?a:b")),
        (['params."a:b|c":eq:"x|""y"'], Condition(("params", "a:b|c"), "eq", 'x|"y')),
        (["params.plan:eq:"], Condition(("params", "plan"), "eq", "")),
    ],
)
def test_filter_is_read(texts: list[str], meant: object) -> None:
    """All `where` together, and of what stands between bars one."""
    assert read_all("where", texts) == meant


@pytest.mark.parametrize(
    "text",
    ["", "|", "plan:eq:pro", "params.plan", "params.plan:is:x", "params.plan:eq:a|", ':eq:"x'],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """With the parameter's name in front."""
    with pytest.raises(Refused, match=r"^where: "):
        read_all("where", [text])


@given(st.text(min_size=1), st.text())
def test_every_key_and_value_can_be_written(key: str, value: str) -> None:
    """In quotes, whatever is in them."""
    field = fields.write(("params", key))
    if "|" in key and '"' not in field:
        field = f'params."{key}"'
    quoted = '"' + value.replace('"', '""') + '"'
    read = read_all("where", [f"{field}:eq:{quoted}"])
    assert read == Condition(("params", key), "eq", value)


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """Nothing else comes of it."""
    with suppress(Refused):
        read_all("where", [text])

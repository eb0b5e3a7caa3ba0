"""`plan` means `params.plan`; whatever the query API takes stays as it is."""

import click
import pytest

from ingest.api import conditions
from ingest.api.asking import KINDS, PERSON_PARAMETERS
from ingest.cli.query import query_group, shorthand

WAY = {"app", "server", "key", "as_json", "as_csv"}
OF_ALL = {"config", "database_url", "data_dir"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plan", "params.plan"),
        ("cart.total", "params.cart.total"),
        ('"unit.price"', 'params."unit.price"'),
        ("params", "params.params"),
        ("name.first", "params.name.first"),
        ("name", "name"),
        ("person", "person"),
        ("params.name", "params.name"),
        ('"params".plan', '"params".plan'),
    ],
)
def test_field(written: str, meant: str) -> None:
    """Only what is no field gets `params.` before it."""
    assert shorthand.field(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [("count", "count"), ("sum:amount", "sum:params.amount"), ("p95:params.n", "p95:params.n")],
)
def test_measure(written: str, meant: str) -> None:
    """Its field stands behind the colon."""
    assert shorthand.measure(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plan:eq:pro", "params.plan:eq:pro"),
        ("plan:exists", "params.plan:exists"),
        ("name:eq:a:b", "name:eq:a:b"),
        ('plan:eq:"a|b"|n:gt:1', 'params.plan:eq:"a|b"|params.n:gt:1'),
        ('"a:b":eq:x', 'params."a:b":eq:x'),
        ("plan:eq:a|person:missing", "params.plan:eq:a|person:missing"),
    ],
)
def test_where(written: str, meant: str) -> None:
    """The field of each condition, and nothing of a value."""
    assert shorthand.where(written) == meant
    assert conditions.read_all("where", [shorthand.where(written)])


@pytest.mark.parametrize("text", ["plan", "plan:eq:pro|", "plan:EQ:x", "", '"plan:eq:x'])
def test_what_is_no_filter_is_left_to_be_refused(text: str) -> None:
    """As a whole, or what is behind the last condition that is one."""
    assert shorthand.where(text).removeprefix("params.") == text


def test_options_are_the_parameters_of_the_api() -> None:
    """All of them, and no others."""
    known = {path.rpartition("/")[2]: kind.parameters for path, kind in KINDS.items()}
    known["person"] = PERSON_PARAMETERS | {"person"}
    found = {
        name: {each.name for each in command.params} - WAY - OF_ALL
        for name, command in query_group.commands.items()
    }
    assert found == known
    assert all(isinstance(each, click.Command) for each in query_group.commands.values())

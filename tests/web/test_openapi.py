"""The OpenAPI document says what the server does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest import __version__
from ingest.errors import STATUS, Code
from tests.conftest import StartServer
from tests.support.server import ROOT, Server

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RUN_TIMEOUT_S = 100
EXAMPLES = 20
"""Of each operation, beside those that cover its document."""
GENERATE_FOR_S = 20
"""At most, on a busy machine."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
OF_EVERY_ROUTE = {"400", "408", "431", "500"}
OF_SENDING = {"200", "202", "400", "401", "403", "408", "413", "415", "417", "429", "431"}
OF_SENDING |= {"500", "503"}
STATUSES = {
    "POST /event": OF_SENDING | {"409"},
    "OPTIONS /event": {"204"} | OF_EVERY_ROUTE,
    "POST /events": OF_SENDING | {"207"},
    "OPTIONS /events": {"204"} | OF_EVERY_ROUTE,
    "GET /healthz": {"200"} | OF_EVERY_ROUTE,
    "GET /readyz": {"200", "503"} | OF_EVERY_ROUTE,
    "OPTIONS /healthz": {"204"} | OF_EVERY_ROUTE,
    "OPTIONS /readyz": {"204", "503"} | OF_EVERY_ROUTE,
    "OPTIONS /": {"204", "503"} | OF_EVERY_ROUTE,
    "GET /metrics": {"200"} | OF_EVERY_ROUTE,
    "GET /": {"200", "304"} | OF_EVERY_ROUTE,
    "GET /openapi.json": {"200", "304"} | OF_EVERY_ROUTE,
}


def document(server: Server) -> Any:  # noqa: ANN401 - any JSON value
    """Return the document that a server serves."""
    return server.get("/openapi.json").json()


def values(tree: Any, key: str) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    """Yield whatever stands under a key, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values(value, key)
    if isinstance(tree, list):
        for value in tree:
            yield from values(value, key)


def test_document_is_for_tools_of_every_origin(shared_server: Server) -> None:
    """JSON of OpenAPI 3.1, and a page on another origin may read it."""
    answer = shared_server.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    tree = answer.json()
    assert tree["openapi"].startswith("3.1")
    assert tree["info"]["version"] == __version__
    assert "{{" not in answer.text


def test_every_reference_leads_to_a_component_and_every_component_is_used(
    shared_server: Server,
) -> None:
    """No dangling ends either way."""
    tree = document(shared_server)
    used = set(values(tree, "$ref"))
    kinds = ("parameters", "headers", "responses", "schemas")
    components = tree["components"]
    made = {f"#/components/{kind}/{name}" for kind in kinds for name in components[kind]}
    assert used == made


def test_every_route_has_its_statuses(shared_server: Server) -> None:
    """All that can come, and no others."""
    found = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, methods in document(shared_server)["paths"].items()
        for method, operation in methods.items()
    }
    assert found == STATUSES


def test_codes_are_those_of_the_server(shared_server: Server) -> None:
    """And each has a status that some route documents."""
    tree = document(shared_server)
    assert set(tree["components"]["schemas"]["Code"]["enum"]) == set(Code)
    documented = set().union(*STATUSES.values()) | {"404", "405"}
    assert {str(status) for status in STATUS.values()} <= documented
    assert "404" in tree["info"]["description"]
    assert "405" in tree["info"]["description"]


def test_limits_are_those_that_the_server_runs_with(
    database_url: str, start_server: StartServer
) -> None:
    """A shorter name, a smaller batch."""
    server = start_server(
        database_url, limits__event_name_chars_max=77, limits__batch_events_max=99
    )
    tree = document(server)
    assert tree["components"]["schemas"]["EventName"]["maxLength"] == 77
    bodies = tree["paths"]["/events"]["post"]["requestBody"]["content"]
    assert bodies["application/json"]["schema"]["maxItems"] == 99


@pytest.mark.parametrize("is_on", [False, True])
def test_key_in_the_address_is_told_only_where_it_is_taken(
    database_url: str,
    start_server: StartServer,
    is_on: bool,  # noqa: FBT001 - a case
) -> None:
    """With `server.key_in_query`, the address and text/plain are in the document."""
    tree = document(start_server(database_url, server__key_in_query=str(is_on).lower()))
    post = tree["paths"]["/event"]["post"]
    assert ("keyInQuery" in tree["components"]["securitySchemes"]) is is_on
    assert ({"keyInQuery": []} in post["security"]) is is_on
    assert ("text/plain" in post["requestBody"]["content"]) is is_on


def test_server_answers_generated_requests_as_documented(
    shared_server: Server, tmp_path: Path
) -> None:
    """Schemathesis finds no undocumented status, no 5xx, and no answer that breaks its schema."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run"),
            f"{shared_server.url}/openapi.json",
            *("--header", f"X-API-Key: {shared_server.key}"),
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES)),
            *("--max-time", str(GENERATE_FOR_S)),
            *("--request-timeout", "10"),
            *("--seed", "1"),
            "--continue-on-failure",
            *("--report", "json", "--report-json-path", str(tmp_path / "report.json")),
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "ndjson.py"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads((tmp_path / "report.json").read_text())

"""The OpenAPI document of the query API says what the server does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest import __version__
from ingest.api.asking import KINDS, PERSON_PARAMETERS
from ingest.api.export import Export
from ingest.api.refusals import STATUS, Code
from ingest.errors import Code as OfHeads
from tests.api.asked import Asked
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RUN_TIMEOUT_S = 110
EXAMPLES = 10
"""Of each operation, beside those that cover its document."""
GENERATE_FOR_S = 20
"""At most, on a busy machine."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
OF_HEADS = {OfHeads.BAD_REQUEST, OfHeads.REQUEST_TIMEOUT, OfHeads.HEADERS_TOO_LARGE}
"""Of requests that nobody understands, or that never come whole."""


@pytest.fixture(scope="module")
def document(asked: Asked) -> Any:  # noqa: ANN401 - any JSON value
    """The document that a server serves, for anybody."""
    answer = asked.get("/openapi.json", X_API_Key="")
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def test_document_is_of_this_version(document: Any) -> None:  # noqa: ANN401 - any JSON value
    """OpenAPI 3.1."""
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == __version__


def test_codes_are_those_of_the_query_api(document: Any) -> None:  # noqa: ANN401
    """And each has a status that some route documents."""
    assert set(document["components"]["schemas"]["Code"]["enum"]) == {*Code, *OF_HEADS}
    documented = {
        status
        for methods in document["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert {str(status) for status in STATUS.values()} <= documented | {"404", "405"}


def test_every_route_has_its_parameters(document: Any) -> None:  # noqa: ANN401
    """All that are read, and no others."""
    known = {path: kind.parameters for path, kind in KINDS.items()}
    known |= {"/v1/export": Export.parameters, "/v1/people/{person}/events": PERSON_PARAMETERS}
    known |= dict.fromkeys(("/v1/people/{person}", "/v1/erasures/{erasure}"), frozenset())
    found = {
        path: frozenset(name for each in asked if (name := _query_name(document, each)))
        for path, methods in document["paths"].items()
        if (asked := methods["get"].get("parameters"))
    }
    assert found == known


def _query_name(document: Any, reference: dict[str, str]) -> str:  # noqa: ANN401
    parameter = document["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
    return str(parameter["name"]) if parameter["in"] == "query" else ""


def test_server_answers_generated_questions_as_documented(asked: Asked, tmp_path: Path) -> None:
    """Schemathesis finds no undocumented status, no 5xx, and no answer that breaks its schema."""
    asked.send(
        *(
            {"event_name": "page_view", "event_params": {"user_id": "12345", "plan": plan, "n": n}}
            for n, plan in enumerate(("pro", "free", 7, None, {"a": 1}))
        )
    )
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{asked.url}/openapi.json",
            *("--header", f"X-API-Key: {asked.keys['one'].read}"),
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES)),
            *("--max-time", str(GENERATE_FOR_S)),
            *("--request-timeout", "30"),
            *("--seed", "1"),
            "--continue-on-failure",
            *("--report", "json", "--report-json-path", str(tmp_path / "report.json")),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads((tmp_path / "report.json").read_text())

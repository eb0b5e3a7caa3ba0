"""What becomes of an SDK's events when server or Postgres go away while they are sent."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from ingest.store.cluster import Cluster
from tests.sdks.faults import Site, running_site
from tests.sdks.test_sdks import MODULES, NODE
from tests.support.server import wait_for

pytestmark = pytest.mark.slow

HERE: Final = Path(__file__).parent
PROGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "python": (sys.executable, "-W", "ignore", str(HERE / "many.py")),
    "node": (str(NODE), str(HERE / "many.mjs")),
}
NEEDS_NODE: Final = pytest.mark.skipif(
    NODE is None or not MODULES.exists(), reason="needs node, and npm ci"
)
IN_BOTH: Final = ("segment", "rudder", "posthog", "amplitude")
WITHOUT_IDS: Final = "openpanel"
COUNT: Final = 60
PATIENCE_S: Final = 10
TIMEOUT_S: Final = 60
Sdk = tuple[str, str]
FORGETFUL: Final[tuple[Sdk, ...]] = (
    ("python", "amplitude"),  # what is on its way to a server that is killed
    ("node", "amplitude"),  # whatever it finds nobody for
    ("node", "openpanel"),  # all after 3.5 s, which a busy machine may take
)
"""What they may give up while nobody takes it; all others try for seven seconds and more."""


def sdks(python: tuple[str, ...], node: tuple[str, ...]) -> pytest.MarkDecorator:
    """Have a test run with SDKs of Python and of Node."""
    parameters = [pytest.param(("python", name), id=f"python-{name}") for name in python]
    parameters += [
        pytest.param(("node", name), id=f"node-{name}", marks=NEEDS_NODE) for name in node
    ]
    return pytest.mark.parametrize("sdk", parameters)


ALL: Final = sdks(IN_BOTH, (*IN_BOTH, WITHOUT_IDS))


@contextmanager
def sending(sdk: Sdk, site: Site, patience_s: int) -> Iterator[list[int]]:
    """Have an SDK send; at the end it has, and said which events it gave up."""
    language, name = sdk
    arguments = (name, site.server.url, site.key, str(COUNT), str(patience_s))
    gave_up: list[int] = []
    with subprocess.Popen(
        [*PROGRAMS[language], *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield gave_up
            printed, _ = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0
            gave_up += json.loads(printed)
        finally:
            process.kill()


def given_up(
    sdk: Sdk, site: Site, harm: Callable[[Site], None], patience_s: int = PATIENCE_S
) -> list[int]:
    """Harm a site while an SDK sends; return what was given up, when all else is stored once.

    An SDK without ids sends one event after the other: of that one it may not know whether it is
    stored, and send it again.
    """
    with sending(sdk, site, patience_s) as gave_up:
        wait_for(lambda: len(site.stored()) > COUNT // 5, TIMEOUT_S)
        harm(site)
    stored = site.stored_in_the_end()
    assert {*range(COUNT)} - {*gave_up} <= {*stored} <= {*range(COUNT)}
    twice = stored - Counter(range(COUNT))
    assert twice.total() <= (sdk[1] == WITHOUT_IDS)
    return gave_up


@ALL
def test_answer_that_comes_late_costs_no_event(own_cluster: Cluster, sdk: Sdk) -> None:
    """The SDK waits for it."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.answer_late) == []


@sdks(("segment", "rudder", "posthog"), ("segment", "posthog"))
def test_event_that_is_sent_again_before_its_answer_is_stored_once(
    own_cluster: Cluster, sdk: Sdk
) -> None:
    """Its SDK waits for half as long as the server takes; all others can't be told to."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.answer_late, patience_s=1) == []


@ALL
def test_event_that_is_refused_while_postgres_is_away_is_stored_later(
    own_cluster: Cluster, sdk: Sdk
) -> None:
    """With a 503, as there is no spool."""
    with running_site(own_cluster, spool__enabled="false") as site:
        assert given_up(sdk, site, Site.lose_postgres) == [] or sdk in FORGETFUL
        assert site.server.metrics().get("nonito_requests_total{sdk,503}", 0) > 0


@sdks(("segment",), (*IN_BOTH, WITHOUT_IDS))
def test_event_that_is_spooled_while_postgres_is_away_is_stored_later(
    own_cluster: Cluster, sdk: Sdk
) -> None:
    """With a 200, so that no SDK sends it again."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.lose_postgres) == []
        assert site.server.metrics()["nonito_events_spooled_total"] > 0


@ALL
def test_server_that_is_killed_and_comes_back_has_each_event_once(
    own_cluster: Cluster, sdk: Sdk
) -> None:
    """What had no answer is sent again; what was stored without one is not stored again."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.lose_server) == [] or sdk in FORGETFUL


@sdks(("rudder",), ("rudder",))
def test_server_that_is_killed_with_a_spool_has_each_event_once(
    own_cluster: Cluster, sdk: Sdk
) -> None:
    """What it has told to be durable, and what nobody was told of."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.lose_both) == []


@ALL
def test_event_over_a_limit_is_stored_later(own_cluster: Cluster, sdk: Sdk) -> None:
    """Its SDK is told so that it sends again: by a 429, or by a 503."""
    with running_site(own_cluster) as site:
        assert given_up(sdk, site, Site.limit) == []
        assert site.server.metrics()["nonito_events_refused_total{too_many_requests}"] > 0

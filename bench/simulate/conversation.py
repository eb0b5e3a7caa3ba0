"""A request and its answer, as HTTP's routes have them, without HTTP around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bench.audit.answers import Answer
from bench.audit.workload import Request, SentEvent
from ingest.delivery.outcome import Duplicate, Outcome, Waiter
from ingest.errors import Code, Refusal
from ingest.events import row_json
from ingest.events.drafts import Drafts
from ingest.http import idempotency
from ingest.http.batch_answer import NOT_YET, describe
from ingest.http.duplicates import headers_of
from ingest.http.preferences import Preferences
from ingest.http.responses import status_of
from ingest.http.rows_body import RowsBody
from ingest.http.waiters import BatchAnswer
from ingest.store.apps import App

if TYPE_CHECKING:
    from bench.simulate.server import Server

_USUAL: Final = Preferences()
_ACCEPTED: Final = 202


class Conversation:
    """One request to one life of the server."""

    def __init__(
        self,
        request: Request,
        app: App,
        on_answer: Callable[[Answer], None],
        *,
        sent_s: float,
    ) -> None:
        self.request = request
        self.sent_s = sent_s
        self.app = app
        self.is_left = False
        """Whether the client has gone: to write to it raises."""
        self._on_answer = on_answer
        self._server: Server | None = None
        self._body = b""

    def begin(self, server: "Server") -> None:
        """Hand the request in; what is wrong with it is answered at once."""
        self._server = server
        try:
            if len(self.request.events) == 1:
                self._post(server, self.request.events[0])
            else:
                self._post_all(server)
        except Refusal as refusal:
            server.metrics.refuse(refusal, self.app.id)
            if refusal.code is Code.OVERLOADED and len(self.request.events) == 1:
                server.look_at_refusal(self.app.id, len(self.request.events[0].body))
            if not self.is_left:
                self._refuse(refusal)

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Answer a single event, as the routes do."""
        if isinstance(outcome, Refusal):
            self._refuse(outcome)
            return
        body = row_json.body(outcome.row) if isinstance(outcome, Duplicate) else self._body
        said = "".join(f"{name}: {value}\r\n" for name, value in headers_of(outcome).items())
        self._answer(Answer(status_of(outcome), said.encode(), body))

    def _post(self, server: "Server", event: SentEvent) -> None:
        key = idempotency.digest_of((event.key,) if event.key else ())
        waiter: Waiter = server.early_acks if self.request.is_async else self
        self._body = server.intake.accept(self.app, event.body, waiter, key)
        if self.request.is_async and not self.is_left:
            self._answer(Answer(_ACCEPTED, b"", self._body))

    def _post_all(self, server: "Server") -> None:
        drafts = Drafts(wants_stored=True)
        for event in self.request.events:
            drafts.add(server.intake.draft(self.app, event.body))
        if self.request.is_async:
            server.intake.accept_all(self.app, drafts, server.early_acks)
            self._describe(drafts, None)
            return
        answer = BatchAnswer(drafts.rows, drafts.events)
        server.intake.accept_all(self.app, drafts, answer)
        answer.settled.add_done_callback(lambda _: self._describe(drafts, answer))

    def _describe(self, drafts: Drafts, answer: BatchAnswer | None) -> None:
        if self.is_left:
            return  # whoever would write the answer is cancelled
        outcomes = NOT_YET if answer is None else answer.settled.result()
        response = describe(drafts, outcomes, _USUAL)
        body = response.body
        shown = body.joined() if isinstance(body, RowsBody) else body
        self._answer(Answer(response.status, b"", shown if isinstance(shown, bytes) else b""))

    def _refuse(self, refusal: Refusal) -> None:
        self._answer(Answer(refusal.status, b"", refusal.body()))

    def _answer(self, answer: Answer) -> None:
        server = self._server
        if server is None or server.loop.is_dead:
            return
        if self.is_left:
            raise RuntimeError("unable to perform operation on a closed transport")
        self._on_answer(answer)

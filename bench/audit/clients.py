"""The clients: raw HTTP over keep-alive connections, each with habits of its own.

Some send one request at a time, some pipeline up to four; some leave before their answer; some mix
bad events and poison among good ones; some send in chunks, which is aiohttp's lane; some send
batches; some give their events ids, keys and times, send them again after a failure or a success,
and use an id or a key for another event; some ask to be answered early. When the server dies they
connect again. Of several servers each has any, and sends again mostly what another one has had. An
event is in the recorder's history before its first byte leaves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from random import Random
from typing import Final, cast

from bench.audit.answers import Answer, file_answer
from bench.audit.faults import DOWN
from bench.audit.habits import habits
from bench.audit.history import DISMISSED, LOST, QUIT, UNANSWERED
from bench.audit.memory import Memory
from bench.audit.recorder import Recorder
from bench.audit.sockets import reset_on_close
from bench.audit.workload import APPS, Request, SentEvent, Workload, app_of
from bench.load.http import AnswerError, Heads, check_unfinished

ANSWER_TIMEOUT_S: Final = 12.0
"""Twice a commit's time-out, and a hang of six seconds: later than this is never."""
_CONNECT_TIMEOUT_S: Final = 5.0
_RECONNECT_S: Final = 0.03
_SWEEP_S: Final = 0.25
_OVERLOADED: Final = 503
_SERVER_ERRORS: Final = 500
_RETRY_AFTER_S: Final = 1.0
_SLOW_PAUSE_S: Final = 0.2
_QUIT_DELAY_S: Final = 0.004
_JSON: Final = b"application/json"
_LAST: Final = b"\r\nconnection: close"
"""What an answer says behind which the connection is closed: what was pipelined is sent again."""
_MOVES: Final = 0.02
"""How often a client that waits for nothing goes to another server, where there is one."""
_RESETS: Final = 0.7
"""The share of those who leave that say so with an RST; the others look half-closed at first."""


class Traffic:
    """What all clients share: where to, what, and how fast."""

    def __init__(
        self, ports: Sequence[int], keys: Sequence[str], workload: Workload, recorder: Recorder
    ) -> None:
        self.ports = ports
        """Of each server."""
        self.workload = workload
        self.recorder = recorder
        self.heads = Heads()
        self.memories = [Memory(len(ports)) for _ in range(APPS)]
        self.is_stopping = False
        self.is_ahead = False
        """Whether more is acknowledged than the faults so far are worth: then go slowly."""
        self._hosts = [f"Host: 127.0.0.1\r\nX-API-Key: {key}\r\n".encode() for key in keys]

    def encode(self, request: Request, app: int, *, is_chunked: bool) -> bytes:
        """Return a request's bytes, with the API key of one of the apps."""
        events = request.events
        path, content, body = b"/event", _JSON, events[0].body
        if len(events) > 1:
            is_array = len(events) % 2 and all(each.is_json for each in events)
            bodies = [each.body for each in events]
            path, content = b"/events", _JSON if is_array else b"application/x-ndjson"
            body = b"[%b]" % b",".join(bodies) if is_array else b"\n".join(bodies)
        head = b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\n" % (path, self._hosts[app], content)
        if events[0].key:
            head += b"Idempotency-Key: %b\r\n" % events[0].key.encode()
        if request.is_async:
            head += b"Prefer: respond-async\r\n"
        if is_chunked:
            chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            return head + chunked % (len(body), body)
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


class Client(asyncio.Protocol):
    """One client, over one connection after the other."""

    def __init__(self, traffic: Traffic, number: int, random: Random) -> None:
        self._traffic = traffic
        self._number = number
        self._random = random
        self._habits = habits(number, random)
        self._app = app_of(number)
        self._memory = traffic.memories[self._app]
        self._sent = 0
        self._transport: asyncio.Transport | None = None
        self._server = number % len(traffic.ports)
        """Which one it is connected to, or was."""
        self._port = 0
        self._waiting: deque[Request] = deque()
        self._waiting_since_s = 0.0
        self._rest = b""
        self._is_told_to_wait = False
        self._ended = asyncio.Event()
        self._why_lost = LOST

    async def run(self) -> None:
        """Send until all clients stop and everything sent is answered or given up."""
        loop = asyncio.get_running_loop()
        while not self._traffic.is_stopping:
            self._ended.clear()
            since_ns = time.monotonic_ns()
            port = self._traffic.ports[self._server]
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await loop.create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                if (DOWN, self._server) not in self._traffic.recorder.lasting:
                    self._traffic.recorder.outside(self._number, since_ns, self._server)
                await asyncio.sleep(_RECONNECT_S)
            else:
                await self._watch()
            self._move_on()

    def _move_on(self) -> None:
        """Connect to any of several servers the next time."""
        if (servers := len(self._traffic.ports)) > 1:
            self._server = self._random.randrange(servers)

    async def _watch(self) -> None:
        """Wait until the connection has ended; give up what stays unanswered."""
        while not self._ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_S):
                    await self._ended.wait()
            if self._waiting and time.monotonic() - self._waiting_since_s > ANSWER_TIMEOUT_S:
                self._leave(UNANSWERED)
            elif self._traffic.is_stopping and not self._waiting:
                self._leave(QUIT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to send."""
        self._transport = cast("asyncio.Transport", transport)
        self._port = transport.get_extra_info("sockname")[1]
        self._rest, self._why_lost = b"", LOST
        self._fill()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End; what has no answer by now is unknown."""
        self._transport = None
        while self._waiting:
            events = self._waiting.popleft().events
            for event in events:
                self._traffic.recorder.unknown(event.label, self._why_lost, self._port)
            self._memory.retry(events, self._server)
        self._ended.set()

    def data_received(self, data: bytes) -> None:
        """Take every complete answer."""
        self._rest += data
        try:
            while self._take():
                pass
        except AnswerError:
            self._traffic.recorder.note(f"client {self._number} got {self._rest[:200]!r}")
            self._leave(LOST)
        if self._transport is None or len(self._waiting) >= self._habits.depth:
            return
        if self._is_told_to_wait:
            self._is_told_to_wait = False
            self._fill_later(2 * _RETRY_AFTER_S)
        elif self._traffic.is_ahead:
            self._fill_later(2 * _SLOW_PAUSE_S)
        else:
            self._fill()

    def _fill_later(self, pause_s_max: float) -> None:
        pause_s = self._random.uniform(0, pause_s_max)
        asyncio.get_running_loop().call_later(pause_s, self._fill)

    def _take(self) -> bool:
        """Take one answer; return whether there may be another."""
        end = self._rest.find(b"\r\n\r\n") + 4
        if end < 4:  # noqa: PLR2004 - not found
            check_unfinished(self._rest)
            return False
        head_bytes = self._rest[:end]
        heads = self._traffic.heads
        head = heads.known.get(head_bytes) or heads.parse(head_bytes)
        stop = end + head.body_bytes
        if len(self._rest) < stop:
            return False
        body, self._rest = self._rest[end:stop], self._rest[stop:]
        if not self._waiting:
            self._traffic.recorder.note(f"client {self._number} got an answer to nothing: {body!r}")
            self._traffic.recorder.mixed(f"nobody-{self._number}-{time.monotonic_ns()}", body)
            return False
        self._waiting_since_s = time.monotonic()
        self._is_told_to_wait |= head.status == _OVERLOADED
        request = self._waiting.popleft()
        file_answer(self._traffic.recorder, request, Answer(head.status, head_bytes, body))
        if head.status >= _SERVER_ERRORS:
            self._memory.retry(request.events, self._server)
        if _LAST in head_bytes.lower():
            self._leave(DISMISSED)
            return False
        return bool(self._rest)

    def _fill(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._traffic.is_stopping:
            return
        wanted = self._habits.depth - len(self._waiting)
        if wanted <= 0:
            return
        if self._is_leaving_for_another():
            self._leave(QUIT)
            return
        if not self._waiting:
            self._waiting_since_s = time.monotonic()
        requests = [self._next_request() for _ in range(wanted)]
        for event in chain(*(request.events for request in requests)):
            self._traffic.recorder.sent(event, self._server)
            self._memory.keep(event, self._server, self._random)
        self._waiting.extend(requests)
        encode, is_chunked = self._traffic.encode, self._habits.is_chunked
        transport.write(
            b"".join(encode(each, self._app, is_chunked=is_chunked) for each in requests)
        )
        if self._random.random() < self._habits.quits:
            delay_s = self._random.uniform(0, _QUIT_DELAY_S)
            asyncio.get_running_loop().call_later(delay_s, self._leave, QUIT, transport)

    def _is_leaving_for_another(self) -> bool:
        """Whether it goes to another server, now and then, while it waits for nothing."""
        is_free = len(self._traffic.ports) > 1 and not self._waiting
        return is_free and self._sent > 0 and self._random.random() < _MOVES

    def _next_request(self) -> Request:
        events_max = self._habits.events_max
        events = self._random.randint(2, events_max) if events_max > 1 else 1
        is_async = self._random.random() < self._habits.early
        return Request(tuple(self._next_event() for _ in range(events)), is_async)

    def _next_event(self) -> SentEvent:
        random, habits = self._random, self._habits
        workload, draw = self._traffic.workload, random.random()
        if draw < habits.bad:
            return workload.bad(self._number, self._next_number(), random)
        if draw < habits.bad + habits.poison:
            return workload.poison(self._number, self._next_number(), random)
        if random.random() < habits.claims:
            again = self._memory.again(random, self._server, takes_keys=self._takes_keys)
            return again or self._new(self._next_claim())
        return self._new("")

    def _new(self, claim: str) -> SentEvent:
        """Return a new good event, which may be of a claim that is used."""
        random, habits = self._random, self._habits
        is_guarded = random.random() < habits.guarded
        make = self._traffic.workload.guarded if is_guarded else self._traffic.workload.good
        is_remembered = random.random() < habits.timestamps
        happened = self._traffic.workload.happened(random) if is_remembered else ""
        return make(self._number, self._next_number(), random, claim, happened)

    def _next_claim(self) -> str:
        is_key = self._random.random() < self._habits.keys
        used = self._memory.used(self._random, takes_keys=self._takes_keys)
        workload = self._traffic.workload
        return used or workload.claim(self._number, self._sent, self._random, is_key=is_key)

    @property
    def _takes_keys(self) -> bool:
        """Whether its requests can have a header for their event: a batch's can't."""
        return self._habits.events_max == 1

    def _next_number(self) -> int:
        self._sent += 1
        return self._sent

    def _leave(self, why: str, transport: asyncio.Transport | None = None) -> None:
        """End the connection (the one that was meant) without waiting for answers."""
        if self._transport is not None and transport in {None, self._transport}:
            self._why_lost = why
            if why == QUIT and self._random.random() < _RESETS:
                reset_on_close(self._transport)
            self._transport.abort()

"""`/batch`: PostHog's if its body has a `batch`, Amplitude's if it has `events`."""

import msgspec

from ingest.http.protocols import amplitude, posthog
from ingest.http.protocols.dialect import ABSENT, Envelope, decoder_of


class _Body(msgspec.Struct, gc=False):
    events: msgspec.Raw = ABSENT
    batch: msgspec.Raw = ABSENT


_body = decoder_of(_Body)


def take(body: bytes) -> Envelope:
    """Take a body apart, as that protocol does that it is of."""
    if not body.lstrip().startswith(b"{"):
        return posthog.take(body)
    found = _body(body)
    is_amplitudes = bytes(found.events) and not bytes(found.batch)
    return amplitude.take(body) if is_amplitudes else posthog.take(body)

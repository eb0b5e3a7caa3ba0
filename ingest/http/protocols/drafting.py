"""One event of another protocol: understood, allowed by its key, and drafted, or why not."""

from ingest.delivery.intake import Intake
from ingest.errors import Code, Refusal
from ingest.events.drafts import Draft
from ingest.http.limited_keys import refusal_of
from ingest.http.protocols.dialect import Read
from ingest.store.keyring import Grant


def draft(
    intake: Intake,
    grant: Grant,
    read: Read,
    text: bytes,
    bytes_max: int,
    *,
    wants_stored: bool = True,
) -> Draft | Refusal:
    """Return the draft of an event as it was sent, or why it is refused."""
    if len(text) > bytes_max:
        return Refusal(Code.PAYLOAD_TOO_LARGE, f"An event may have {bytes_max} bytes at most.")
    try:
        found = read(text)
    except Refusal as refusal:
        return refusal.anew()
    if grant.limits is not None and (refused := refusal_of(grant.limits, found.name)):
        return refused
    return intake.draft_foreign(grant.app, found, wants_stored=wants_stored)

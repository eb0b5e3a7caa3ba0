"""The refusals of a document that is no JSON."""

from ingest.errors import Code, Refusal


def malformed(what: str) -> Refusal:
    """Return the refusal of a document in which something is wrong, and where it is known."""
    return Refusal(Code.INVALID_JSON, f"The body is not valid JSON: {what}.")


def nested_too_deeply() -> Refusal:
    """Return the refusal of a document that the parser can't follow."""
    return Refusal(Code.INVALID_JSON, "The body is nested too deeply.")

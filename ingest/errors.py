"""The closed set of refusals: every answer of this server that is not a success.

A refusal has a code that clients may switch on, a status, and a message that says what is wrong
and how to mend it. It never carries a trace, a key, or anything of another tenant.
"""

from enum import StrEnum


class Code(StrEnum):
    """What clients may switch on. Codes are added, never renamed."""

    BAD_REQUEST = "bad_request"
    INVALID_JSON = "invalid_json"
    MISSING_EVENT_NAME = "missing_event_name"
    INVALID_EVENT_NAME = "invalid_event_name"
    INVALID_EVENT_PARAMS = "invalid_event_params"
    INVALID_ID = "invalid_id"
    INVALID_TIMESTAMP = "invalid_timestamp"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_ENCODING = "invalid_encoding"
    INVALID_BATCH = "invalid_batch"
    EMPTY_BATCH = "empty_batch"
    REJECTED_BY_DATABASE = "rejected_by_database"
    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    EVENT_NAME_NOT_ALLOWED = "event_name_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    TOO_MANY_REQUESTS = "too_many_requests"
    HEADERS_TOO_LARGE = "headers_too_large"
    DATABASE_ERROR = "database_error"
    INTERNAL_ERROR = "internal_error"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    NOT_READY = "not_ready"


STATUS: dict[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.INVALID_JSON: 400,
    Code.MISSING_EVENT_NAME: 400,
    Code.INVALID_EVENT_NAME: 400,
    Code.INVALID_EVENT_PARAMS: 400,
    Code.INVALID_ID: 400,
    Code.INVALID_TIMESTAMP: 400,
    Code.INVALID_IDEMPOTENCY_KEY: 400,
    Code.UNKNOWN_FIELD: 400,
    Code.INVALID_ENCODING: 400,
    Code.INVALID_BATCH: 400,
    Code.EMPTY_BATCH: 400,
    Code.REJECTED_BY_DATABASE: 400,
    Code.MISSING_API_KEY: 401,
    Code.INVALID_API_KEY: 401,
    Code.ORIGIN_NOT_ALLOWED: 403,
    Code.EVENT_NAME_NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.REQUEST_TIMEOUT: 408,
    Code.CONFLICT: 409,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.EXPECTATION_FAILED: 417,
    Code.TOO_MANY_REQUESTS: 429,
    Code.HEADERS_TOO_LARGE: 431,
    Code.DATABASE_ERROR: 500,
    Code.INTERNAL_ERROR: 500,
    Code.OVERLOADED: 503,
    Code.SHUTTING_DOWN: 503,
    Code.NOT_READY: 503,
}

RETRY_AFTER_S = 1
"""What `Retry-After` says on a 503: a full queue drains within a second, or not soon."""


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """One refused request, or one refused event of a batch."""

    def __init__(self, code: Code, message: str, *, allow: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code]
        self.headers: dict[str, str] = {}
        if self.status == STATUS[Code.OVERLOADED]:
            self.headers["Retry-After"] = str(RETRY_AFTER_S)
        if self.status == STATUS[Code.MISSING_API_KEY]:
            # Java's and Android's clients take a 401 without it for a broken answer (RFC 9110, 15).
            self.headers["WWW-Authenticate"] = "Bearer"
        if allow is not None:
            self.headers["Allow"] = allow

    def anew(self) -> "Refusal":
        """Return a copy without a traceback, which would hold what its frames hold, in cycles."""
        refusal = Refusal(self.code, self.message)
        refusal.headers = self.headers
        return refusal

    def body(self) -> bytes:
        """Return the error in the one JSON shape that every route answers with."""
        return body_of(self.code, self.message)


def body_of(code: str, message: str) -> bytes:
    """Return an error in that shape."""
    import orjson  # noqa: PLC0415 - 0.3 MB, and the supervisor answers nobody

    return orjson.dumps({"status": "error", "error": {"code": code, "message": message}})


class StartupError(Exception):
    """The server can't start; the message is one line that says why and how to mend it."""

    exit_code = 1
    """Of a command that ends with it."""

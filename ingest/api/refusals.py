"""The closed set of refusals of the query API, in the one JSON shape of all our errors."""

from enum import StrEnum
from typing import Final

from ingest.errors import body_of


class Code(StrEnum):
    """What clients may switch on. Codes are added, never renamed."""

    INVALID_PARAMETER = "invalid_parameter"
    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    WRONG_KIND_OF_KEY = "wrong_kind_of_key"
    MAY_NOT_ERASE = "may_not_erase"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_CONFIRMED = "not_confirmed"
    TOO_DEAR = "too_dear"
    TOO_MANY_REQUESTS = "too_many_requests"
    INTERNAL_ERROR = "internal_error"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"


STATUS: Final[dict[Code, int]] = {
    Code.INVALID_PARAMETER: 400,
    Code.MISSING_API_KEY: 401,
    Code.INVALID_API_KEY: 401,
    Code.WRONG_KIND_OF_KEY: 403,
    Code.MAY_NOT_ERASE: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_CONFIRMED: 409,
    Code.TOO_DEAR: 422,
    Code.TOO_MANY_REQUESTS: 429,
    Code.INTERNAL_ERROR: 500,
    Code.OVERLOADED: 503,
    Code.UNAVAILABLE: 503,
}
_UNAUTHORIZED: Final = 401


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """One question that is not answered, and why."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        retry_after_s: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code]
        self.headers: dict[str, str] = {}
        if self.status == _UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = "Bearer"
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        if allow is not None:
            self.headers["Allow"] = allow

    def body(self) -> bytes:
        """Return the error as JSON."""
        return body_of(self.code, self.message)


def invalid(name: str, message: str) -> Refused:
    """Return the refusal of a parameter: which one, and what is allowed."""
    return Refused(Code.INVALID_PARAMETER, f"{name}: {message}")

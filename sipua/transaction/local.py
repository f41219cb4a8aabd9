"""Pure. Responses that nobody sent, for requests of ours that got none (RFC 3261 §8.1.3.1)."""

from sipua.message import Request, Response, make_response
from sipua.transaction.machine import Failure


class LocalResponse(Response):
    """A final response that nobody sent: 408 for silence, 503 for a transport error (RFC 3261 §8.1.3.1)."""

    __slots__ = ()

    @classmethod
    def for_request(cls, request: Request, status: int, reason: str | None = None) -> "LocalResponse":
        """Make the response *status* to *request*; *reason* is one line."""
        made = make_response(request, status, reason)
        return cls(made.status, made.reason, made.headers)

    @classmethod
    def for_failure(cls, request: Request, failure: Failure) -> "LocalResponse":
        """Make the response that stands for *failure*."""
        return cls.for_request(request, 408 if failure is Failure.TIMEOUT else 503)

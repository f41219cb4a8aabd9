"""Pure. The door for requests outside a dialog: what one gets that is not let in, before it costs a transaction."""

from collections.abc import Callable
from dataclasses import dataclass

from sipua.message import Request, Response, make_response
from sipua.transport.base import Channel

SILENCE = 0
"""The status of a refusal that sends nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stateless answer: *status* with *reason* (None: the standard phrase) and *headers*; ``SILENCE`` sends nothing."""

    status: int
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def response_to(self, request: Request, to_tag: str) -> Response:
        """Return the response to *request*. Not for ``SILENCE``."""
        response = make_response(request, self.status, self.reason, to_tag=to_tag)
        for name, value in self.headers:
            response.headers.add(name, value)
        return response


Admit = Callable[[Request, Channel], Refusal | None]
"""Decides over a new request that belongs to no dialog, and over a CANCEL of nothing: None lets it in. It must not block."""

OnRefused = Callable[[Request, Response, Channel], None]
"""Hears of each final response of ours of 400 and above, once; of what :data:`Admit` refused it does not, which tells that itself."""

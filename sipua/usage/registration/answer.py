"""Pure. What a registrar's final response means for us (RFC 3261 §10.2.4, §10.2.7, §10.2.8; docs/spec/registration.md, "Answers")."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sipua.errors import ParseError
from sipua.message import Address, Response, Uri

TEMPORARY = frozenset({408, 430, 480, 491})
PERMANENT_5XX = frozenset({501, 505, 513})
_MOVED = frozenset({301, 302})


class Verdict(StrEnum):
    """What is to be done after a response."""

    BOUND = "bound"
    TEMPORARY = "temporary"
    REFUSED = "refused"
    TOO_BRIEF = "too brief"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of a final response that counts.

    ``seconds`` is the granted expiry for *bound*, Min-Expires for *too brief* and Retry-After (None: absent) for *temporary*;
    ``target`` is the URI to ask instead for *moved*.
    """

    verdict: Verdict
    status: int
    seconds: int | None = None
    target: str = ""


def read_answer(response: Response, contact: Uri, asked_s: int) -> Answer:
    """Read the final *response* to a REGISTER that asked for *contact* to be bound for *asked_s* seconds; broken values count as absent."""
    status = response.status
    if response.is_success:
        granted = granted_expiry(response, contact, asked_s)
        # a 2xx that doesn't bind us is a fault of the registrar, not a decision of its administrator
        return Answer(Verdict.BOUND, status, granted) if granted > 0 else Answer(Verdict.TEMPORARY, status)
    if status == 423:
        return Answer(Verdict.TOO_BRIEF, status, _seconds(lambda: response.min_expires) or 0)
    if status in _MOVED:
        target = _target(response, contact)
        return Answer(Verdict.MOVED, status, target=target) if target else Answer(Verdict.REFUSED, status)
    retry_after = _seconds(lambda: response.retry_after)
    if retry_after is not None or status in TEMPORARY or (500 <= status < 600 and status not in PERMANENT_5XX):
        return Answer(Verdict.TEMPORARY, status, retry_after)
    return Answer(Verdict.REFUSED, status)


def granted_expiry(response: Response, contact: Uri, asked_s: int) -> int:
    """Return for how many seconds a 2xx binds *contact*, at most *asked_s*: 0 when it says that it doesn't.

    The binding that equals *contact* counts (RFC 3261 §10.2.4, §19.1.4). Where a NAT or proxy has rewritten it, the only one does, or
    those with our user part. Of several the freshest counts: the longest that is not longer than what we asked for.
    """
    default = _seconds(lambda: response.expires)
    default = asked_s if default is None else default
    bindings = _bindings(response)
    ours = [binding for binding in bindings if binding.uri.matches(contact)]
    if not ours:
        ours = bindings if len(bindings) == 1 else [b for b in bindings if b.uri.is_sip and b.uri.unescaped_user == contact.unescaped_user]
    expiries = [_expiry(binding, default) for binding in ours] or [default]
    return min(max((e for e in expiries if e <= asked_s), default=min(expiries)), asked_s)


def _bindings(response: Response) -> list[Address]:
    bindings = []
    for text in response.headers.values("Contact"):
        try:
            bindings.append(Address.parse(text))
        except ParseError:
            continue  # another device's binding may be broken; ours is not
    return bindings


def _expiry(binding: Address, default: int) -> int:
    text = binding.params.get("expires")
    # RFC 3261 §10.2.1.1: the parameter wins; a malformed one counts as absent
    return min(int(text), 2**32 - 1) if text and text.isascii() and text.isdigit() and len(text) <= 10 else default


def _seconds(read: Callable[[], int | None]) -> int | None:
    try:
        return read()
    except ParseError:
        return None


def _target(response: Response, contact: Uri) -> str:
    """Return the first SIP Contact of a redirection that is not ourselves and as secure as our Contact."""
    for address in _bindings(response):
        if address.uri.is_sip and not address.uri.matches(contact) and (address.uri.scheme == "sips" or contact.scheme == "sip"):
            return address.uri.as_request_uri().text
    return ""

"""Pure. Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3, §9.2, §8.2.2.2)."""

from sipua.message import MAGIC_COOKIE, Request, Response

ClientKey = tuple[str, str]
"""Branch and CSeq method."""

ServerKey = str
"""Branch, sent-by and method, a line each, for no value has a line end; for peers of RFC 2543 all that identifies a request.

A text and not a tuple: it is looked for in several tables, and PyPy hashes a tuple of texts anew for each.
"""

MergeKey = str
"""From tag, Call-ID and CSeq, likewise: equal in two requests of different branches when a request came by two ways."""

CANCELABLE = ("INVITE", "BYE", "REFER", "NOTIFY", "SUBSCRIBE", "OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "REGISTER", "PUBLISH")
"""The methods among which a CANCEL looks for its target: ours to answer, the likeliest first (RFC 3261 §9.2)."""


def client_key(message: Request | Response) -> ClientKey:
    """Return the key of a request that we send or of the response to it: CANCEL shares the branch with its INVITE (RFC 3261 §17.1.3)."""
    return message.via.branch, message.cseq.method


def server_key(request: Request, method: str | None = None) -> ServerKey:
    """Return the key of a request that came in; *method* stands in for its own when a CANCEL or an ACK looks for its target.

    An ACK always has the key of its INVITE. Without the cookie in the branch the fields of RFC 2543 decide. To is not among them:
    the only request that differs from another in nothing but its To tag is the ACK, whose tag comes from the response.
    """
    if method is None:
        method = "INVITE" if request.method == "ACK" else request.method
    via = request.via
    branch = via.branch
    if branch.startswith(MAGIC_COOKIE):
        return branch + "\n" + via.sent_by + "\n" + method
    return "\n".join(("", str(via), method, request.uri, request.from_.tag, request.call_id, str(request.cseq.number)))


def is_legacy(key: ServerKey) -> bool:
    """Tell whether *key* was made by the fields of RFC 2543."""
    return key.startswith("\n")


def merge_key(request: Request) -> MergeKey | None:
    """Return the key by which a request that came by two ways is found, None for one inside a dialog (RFC 3261 §8.2.2.2)."""
    if request.to.tag:
        return None
    return request.from_.tag + "\n" + request.call_id + "\n" + str(request.cseq)

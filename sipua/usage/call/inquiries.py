"""Pure. Answers that need no call state: OPTIONS and INFO (RFC 3261 §11.2, RFC 6086)."""

from sipua.dialog.checks import ACCEPT, ALLOW, SUPPORTED_EXTENSIONS
from sipua.message import Request, Response, make_response

DTMF_TYPES = frozenset({"application/dtmf-relay", "application/dtmf"})


def answer_options(
    request: Request,
    server_name: str = "",
    status: int = 200,
    to_tag: str = "",
    extensions: frozenset[str] = SUPPORTED_EXTENSIONS,
) -> Response:
    """Say what we can do; *status* is what an INVITE would get (RFC 3261 §11.2)."""
    response = make_response(request, status, to_tag=to_tag)
    response.headers.add("Allow", ALLOW)
    response.headers.add("Accept", ACCEPT)
    response.headers.add("Accept-Encoding", "identity")
    response.headers.add("Accept-Language", "en")
    response.headers.add("Supported", ", ".join(sorted(extensions)))
    response.headers.add("Allow-Events", "refer")
    if server_name:
        response.headers.add("Server", server_name)
    return response


def answer_info(request: Request) -> Response:
    """Take legacy INFO, refuse packages that nobody agreed on with 469 and an empty Recv-Info (RFC 6086 §4.2.2)."""
    if request.headers.get("Info-Package") is not None:
        response = make_response(request, 469)
        response.headers.add("Recv-Info", "")
        return response
    return make_response(request, 200)

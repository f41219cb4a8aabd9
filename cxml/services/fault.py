"""Why a webhook request failed: the vendors' error codes, and how exceptions map to them."""

import os
import socket
import ssl

import httpx

from cxml.services.retry import RetryOn

INVALID_URL = 11100  # also one whose host the settings forbid
RETRIEVAL = 11200  # no complete answer: time-outs, and connections refused or lost
DNS = 11210
REDIRECTS = 11215
STATUS = 11217
TLS = 11220
PROTOCOL = 11251
BODY_SIZE = 11750
CONTENT_TYPE = 12300

_MAX_CHAIN = 10  # causes looked at; a chain can be a ring


class FaultError(Exception):
    """One exchange failed.

    *code* as above, *detail* one line for people, *cause* the class of failures it belongs to for retries, *status* the HTTP status
    (0: no usable answer).
    """

    def __init__(self, code: int, detail: str, cause: RetryOn | None = None, *, status: int = 0) -> None:
        """Keep the parts."""
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.cause = cause
        self.status = status


class PrivateAddressError(OSError):
    """A connection to an address that is not public, where only those are allowed."""

    def __init__(self, address: str) -> None:
        """Keep a line that names *address* and the setting."""
        super().__init__(f"{address} is no public address, and [webhook] allow_private is false")


def lost() -> FaultError:
    """Return the fault of a connection that ended before the answer did."""
    return FaultError(RETRIEVAL, "the connection was lost before the answer was complete", RetryOn.READ)


def bad_http() -> FaultError:
    """Return the fault of an answer that breaks the grammar of HTTP/1.1, or goes on too long."""
    return FaultError(PROTOCOL, "the answer is not valid HTTP")


def not_connected(exc: OSError) -> FaultError:
    """Return the fault of a connection that *exc* of the resolver, a socket or TLS prevented."""
    return _connecting(_chain(exc)) or FaultError(
        RETRIEVAL, f"can't connect: {os.strerror(exc.errno) if exc.errno else 'no connection'}"[:120], RetryOn.CONNECT
    )


def _connecting(causes: list[BaseException]) -> FaultError | None:
    """Return the fault of a connection that could not be made for a reason of its own code."""
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return FaultError(DNS, "the host name can't be resolved", RetryOn.CONNECT)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return FaultError(TLS, _tls_detail(causes), RetryOn.CONNECT)
    forbidden = next((cause for cause in causes if isinstance(cause, PrivateAddressError)), None)
    return None if forbidden is None else FaultError(INVALID_URL, str(forbidden))


def fault_of(exc: httpx.HTTPError | httpx.InvalidURL | httpx.StreamError) -> FaultError:
    """Return the fault that *exc* of a transport, or what caused it, stands for."""
    found = _connecting(_chain(exc))
    if found is not None:
        return found
    match exc:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return FaultError(RETRIEVAL, "no connection within the connect time-out", RetryOn.CONNECT)
        case httpx.TimeoutException():
            return FaultError(RETRIEVAL, "no data within the read time-out", RetryOn.READ)
        case httpx.ConnectError():
            return FaultError(RETRIEVAL, f"can't connect: {str(exc)[:100]}", RetryOn.CONNECT)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return FaultError(INVALID_URL, "not a usable URL")
        case httpx.NetworkError():
            return lost()
        case _:
            return bad_http()


def _chain(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = exc
    while cause is not None and len(found) < _MAX_CHAIN:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _tls_detail(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {ascii(cause.verify_message)[:100]}"
    return "the TLS handshake failed"

"""Keeps the failure of one TLS connection from being told to another on PyPy, whose ssl module leaves OpenSSL's queue of errors as it is.

OpenSSL has one queue for all connections of a thread, and takes what it finds there for the outcome of the next operation, whichever
connection's that is (SSL_get_error(3): the queue must be empty before). A stranger's broken handshake would end the connection of a peer.
CPython empties the queue with each error that it raises; so do we (docs/adr/0024).
"""

import contextlib
import ssl
import sys
from importlib import import_module
from typing import Any, Final

from sipua.errors import TransportError

_NO_TLS: Final = b"not a record of TLS\r\n"
_UNKNOWN: Final = "the ssl module of this PyPy is not known, and may mix up the errors of connections: use another version, or CPython"


def separate() -> None:
    """See to it that errors are told to their own connection. Raises :class:`TransportError` when that is not to be had."""
    if sys.implementation.name != "pypy":
        return
    try:
        module: Any = import_module("_cffi_ssl._stdssl")
        build, clear = module.pyssl_error, module.lib.ERR_clear_error
        if not _leaves_errors(module.lib):
            return
    except (ImportError, AttributeError) as error:
        raise TransportError(_UNKNOWN) from error

    def build_and_clear(connection: object, result: int) -> BaseException:
        error: BaseException = build(connection, result)
        clear()
        return error

    module.pyssl_error = build_and_clear
    if _leaves_errors(module.lib):
        raise TransportError(_UNKNOWN)


def _leaves_errors(openssl: Any) -> bool:  # the library's functions
    """Tell whether an error that was raised is still in the queue, for the next connection."""
    incoming = ssl.MemoryBIO()
    incoming.write(_NO_TLS)
    broken = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="broken.invalid")
    with contextlib.suppress(ssl.SSLError):
        broken.do_handshake()
    is_left = bool(openssl.ERR_peek_last_error())
    openssl.ERR_clear_error()
    return is_left

"""An error of one TLS connection is no other one's."""

import contextlib
import ssl
import sys
import types
from pathlib import Path

import pytest

from sipua.errors import TransportError
from sipua.transport import tls_errors
from sipua.transport.tls_errors import separate
from tests.support.certificates import Authority

GARBAGE = b"\x16\x03\x01\x00\x05garbagegarbagegarbage"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def handshake(authority: Authority) -> tuple[ssl.SSLObject, ssl.SSLObject, ssl.MemoryBIO]:
    """Return both ends of a connection whose handshake is done, and what arrives at the server's."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(*authority.issue("bob.example"))
    client.load_verify_locations(str(authority.file))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = server.wrap_bio(to_server, to_client, server_side=True), client.wrap_bio(to_client, to_server, server_hostname="bob.example")
    for _ in range(4):
        for end in reversed(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return *ends, to_server


def test_a_stranger_s_broken_handshake_ends_nobody_else_s_connection(authority: Authority) -> None:
    separate()
    good_server, good_client, _ = handshake(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("bob.example"))
    for _ in range(5):
        incoming = ssl.MemoryBIO()
        incoming.write(GARBAGE)
        with pytest.raises(ssl.SSLError):
            context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
        for end in (good_server, good_client):
            with pytest.raises(ssl.SSLWantReadError):
                end.read(10)
    good_client.write(b"still here")
    assert good_server.read(100) == b"still here"


class OpenSsl:
    """A library whose queue is empty once it was cleared *works* times."""

    def __init__(self, works: int) -> None:
        self.left = works

    def ERR_peek_last_error(self) -> int:  # noqa: N802  # OpenSSL's name
        return self.left

    def ERR_clear_error(self) -> None:  # noqa: N802
        self.left = max(0, self.left - 1)


def build(connection: object, result: int) -> Exception:
    return ValueError(connection, result)


def on_pypy(monkeypatch: pytest.MonkeyPatch, **names: object) -> types.SimpleNamespace:
    """Let *names* be what PyPy's ssl module has."""
    module = types.SimpleNamespace(**names)
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    monkeypatch.setattr(tls_errors, "import_module", lambda _: module)
    return module


def test_a_pypy_without_the_fault_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = on_pypy(monkeypatch, pyssl_error=build, lib=OpenSsl(0))
    separate()
    assert module.pyssl_error is build


def test_one_with_the_fault_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = OpenSsl(1)
    module = on_pypy(monkeypatch, pyssl_error=build, lib=openssl)
    separate()
    openssl.left = 1
    error = module.pyssl_error("it", -1)
    assert (type(error), error.args, openssl.left) == (ValueError, ("it", -1), 0)


@pytest.mark.parametrize("names", [{}, {"pyssl_error": build}, {"pyssl_error": build, "lib": OpenSsl(10)}])
def test_one_that_can_t_be_mended_is_refused(names: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    on_pypy(monkeypatch, **names)
    with pytest.raises(TransportError, match="use another version, or CPython"):
        separate()

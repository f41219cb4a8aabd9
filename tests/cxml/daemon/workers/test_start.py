"""What a worker is started with goes over a socket, and comes out as it was."""

import socket

import pytest
from pydantic import SecretStr

from cxml.daemon.config import Account, Config, Peer, Workers
from cxml.daemon.workers.start import Start, read_start


def start() -> Start:
    peer = Peer(name="pbx", match=("10.0.0.0/8",), username="u", password=SecretStr("of-the-peer"))
    config = Config(workers=Workers(count=2), account=Account(auth_token=SecretStr("t0ken")), peers=(peer,))
    return Start(1, 2, config, board=9, inbox=10, outboxes=[11, 12], udp=[("::1", 5060, 13)], tcp=[("127.0.0.1", 5060, 14)])


def test_a_worker_gets_its_settings_with_the_secrets_and_what_follows_is_left_for_later() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(start().line() + b'{"do": "drain"}\n')
        got = read_start(theirs)
        assert got == start()
        assert got.config.secrets() == ("t0ken", "of-the-peer")
        assert got.descriptors == (9, 10, 11, 12, 13, 14)
        assert theirs.recv(100) == b'{"do": "drain"}\n'


def test_a_worker_whose_parent_is_gone_learns_it() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(start().line()[:100])
        ours.close()
        with pytest.raises(EOFError):
            read_start(theirs)

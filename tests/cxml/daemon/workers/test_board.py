"""Memory that several processes see; here the processes are several boards on one descriptor."""

import os

from cxml.daemon.workers.board import Board

PEERS = ("pbx", "trunk")


def boards() -> tuple[Board, Board]:
    first = Board.make(3, PEERS)
    return first, Board(os.dup(first.descriptor), 3, PEERS)


def test_who_serves_is_seen_by_all() -> None:
    parent, worker = boards()
    assert worker.live() == ()
    parent.set_live(2, is_live=True)
    parent.set_live(0, is_live=True)
    assert (worker.live(), parent.live()) == ((0, 2), (0, 2))
    parent.set_live(2, is_live=False)
    assert worker.live() == (0,)
    parent.close()
    worker.close()


def test_calls_of_the_others_are_added_by_limit() -> None:
    parent, other = boards()
    ours, theirs, trunk = parent.share(0, "pbx"), other.share(1, "pbx"), other.share(2, "trunk")
    assert ours is not None
    assert theirs is not None
    assert trunk is not None
    theirs.note_live(4)
    theirs.note_admitted()
    theirs.note_admitted()
    trunk.note_live(9)
    assert (ours.live, ours.admitted) == (4, 2)
    assert (theirs.live, theirs.admitted) == (0, 0)
    assert parent.share(0, "nobody") is None
    parent.close()
    other.close()


def test_a_dead_worker_has_no_calls_and_what_it_took_stays_counted() -> None:
    parent, other = boards()
    all_calls, watching = other.share(1, ""), parent.share(0, "")
    assert all_calls is not None
    assert watching is not None
    all_calls.note_live(3)
    all_calls.note_admitted()
    assert parent.calls(1) == 3
    parent.clear(1)
    assert (watching.live, watching.admitted) == (0, 1)
    parent.close()
    other.close()

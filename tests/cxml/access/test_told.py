"""What is refused behind the gate has a line of its own."""

import pytest
from structlog.testing import capture_logs

from cxml.access.quiet import LOG_INTERVAL_S
from cxml.access.told import OF_DOCUMENTS, ORDINARY, ToldRefusals
from sipua.message import make_response
from tests.support.loopback import Loopback
from tests.support.messages import request

HOST = "192.0.2.7"


class Listener:
    """A teller whose clock and peers the test sets."""

    def __init__(self) -> None:
        self.now = 50.0
        self.told = ToldRefusals(lambda host: "pbx" if host == HOST else "", lambda: self.now)
        self.net = Loopback()

    def tell(self, status: int, method: str = "UPDATE", host: str = HOST) -> list[dict[str, object]]:
        asked = request(method)
        with capture_logs() as logs:
            self.told.tell(asked, make_response(asked, status), self.net.channel("UDP", host))
        return list(logs)  # type: ignore[arg-type]


def test_the_line_has_reason_peer_method_and_call_id() -> None:
    (line,) = Listener().tell(488)
    assert line["event"] == "request_answered_with_error"
    assert (line["status"], line["reason"], line["peer"], line["method"]) == (488, "Not Acceptable Here", "pbx", "UPDATE")
    assert line["sip_call_id"] == request("UPDATE").call_id
    assert HOST in str(line["source"])


def test_one_line_of_a_kind_in_an_interval_and_the_next_counts_the_others() -> None:
    listener = Listener()
    assert len(listener.tell(488)) == 1
    assert [listener.tell(488) for _ in range(50)] == [[]] * 50
    assert len(listener.tell(500)) == 1
    assert len(listener.tell(488, host="192.0.2.8")) == 1
    listener.now += LOG_INTERVAL_S
    (line,) = listener.tell(488)
    assert line["held_back"] == 50


@pytest.mark.parametrize("status", sorted(OF_DOCUMENTS))
def test_what_documents_and_callers_decide_is_told_by_call_ended(status: int) -> None:
    assert Listener().tell(status, "INVITE") == []


@pytest.mark.parametrize("status", [400, 403, 405, 415, 420, 422, 481, 482, 489, 500, 501, 503])
def test_races_are_no_warning(status: int) -> None:
    (line,) = Listener().tell(status)
    assert line["log_level"] == ("info" if status in ORDINARY else "warning")

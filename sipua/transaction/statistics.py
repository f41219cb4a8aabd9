"""Pure. What the transaction layer counts."""

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """Totals since the start; read them, don't write them."""

    client_started: int = 0
    client_retransmissions: int = 0
    """Requests and ACKs that we sent again."""
    client_timeouts: int = 0
    client_transport_failures: int = 0
    server_started: int = 0
    server_retransmissions: int = 0
    """Responses that were sent again."""
    requests_repeated: int = 0
    """Requests that came again and were absorbed."""
    requests_merged: int = 0
    """Requests that came by a second way: answered 482."""
    requests_refused: int = 0
    """Requests that were not let in, or that there was no room for."""
    requests_stateless: int = 0
    """Requests answered without a transaction."""
    server_cut: int = 0
    """Answered transactions that ended early to make room."""
    cancels_unmatched: int = 0
    acks_missing: int = 0
    """Final responses to INVITE that were never acknowledged (timer H)."""
    responses_stray: int = 0
    """Responses without a transaction."""
    user_faults: int = 0
    """Requests whose handler raised: answered 500."""

"""Pure. What the calls of a user agent count."""

from dataclasses import dataclass


@dataclass(slots=True)
class CallStatistics:
    """Totals since the start; read them, don't write them."""

    refreshes_sent: int = 0
    """UPDATEs and re-INVITEs of ours that were sent to refresh a session (RFC 4028 §7.4)."""
    refreshes_received: int = 0
    """UPDATEs and re-INVITEs of peers that refreshed a session."""
    refreshes_failed: int = 0
    """Refreshes of ours that were refused or got no answer."""
    sessions_expired: int = 0
    """Calls that we ended because nobody had refreshed the session (RFC 4028 §10)."""
    intervals_refused: int = 0
    """Requests that got 422: their session interval was below our minimum."""

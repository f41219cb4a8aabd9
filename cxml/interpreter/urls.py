"""Pure. References in documents and URLs in logs (RFC 3986 §5)."""

from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from sipua.remembered import remembered

LOGGED_CHARS: Final = 300
"""A URL in a log is cut here: a log line stays a line."""

_KEPT: Final = 512  # references of documents, which come again with every call
_KEPT_CHARS: Final = 1024


def resolve(base: str, reference: str) -> str:
    """Return *reference* as an absolute URL; an empty one is *base* itself. Raises ValueError for an unreadable URL."""
    return _kept(base, reference) if len(base) + len(reference) <= _KEPT_CHARS else _resolve(base, reference)


def _resolve(base: str, reference: str) -> str:
    absolute = urljoin(base, reference.strip())
    urlsplit(absolute)
    return absolute


_kept = remembered(_KEPT)(_resolve)


def without_credentials(url: str) -> str:
    """Return *url* without user, password and fragment, fit for a request parameter; never raises."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def for_log(url: str) -> str:
    """Return *url* without anything that may be secret (credentials, query, fragment), printable and of bounded length."""
    bare = without_credentials(url).partition("?")[0]
    return ascii(bare[:LOGGED_CHARS])[1:-1]

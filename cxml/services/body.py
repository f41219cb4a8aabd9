"""Reads a response body up to a limit that counts decoded bytes, so that a small compressed one can't fill the memory."""

import zlib

import httpx

from cxml.services.fault import BODY_SIZE, PROTOCOL, FaultError

_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32


def decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """Return *body*, at most *limit* bytes long, decoded by its Content-Encoding *encoding*.

    Decodes gzip and deflate, although nothing asks for them. Raises :class:`FaultError` 11750 where that makes more than *limit* bytes,
    and 11251 for what can't be decoded.
    """
    decoder = _decoder(encoding) if encoding else None
    if decoder is None:
        return body
    plain = decoder.feed(body, limit + 1)
    if len(plain) > limit:
        raise too_large(limit)
    decoder.finish()
    return plain


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the decoded body of *response*, at most *limit* bytes long.

    Decodes gzip and deflate, although nothing asks for them. Raises :class:`FaultError` 11750 for a longer body, as soon as that is
    known, and 11251 for one that can't be decoded. Raises what the transport raises.
    """
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise too_large(limit)
    decoder = _decoder(response.headers.get("Content-Encoding", ""))
    body = bytearray()
    received = 0
    async for chunk in response.stream:  # type: ignore[union-attr]  # an AsyncBaseTransport gives an async stream
        received += len(chunk)
        if received > limit:
            raise too_large(limit)
        body += chunk if decoder is None else decoder.feed(chunk, limit + 1 - len(body))
        if len(body) > limit:
            raise too_large(limit)
    if decoder is not None and received:
        decoder.finish()
    return bytes(body)


class _Inflate:
    """gzip, zlib and, as some servers send for ``deflate``, a bare deflate stream."""

    def __init__(self, *, may_be_bare: bool) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._may_be_bare = may_be_bare

    def feed(self, data: bytes, most: int) -> bytes:
        """Return what *data* decodes to, not more than *most* (>= 1) bytes of it."""
        try:
            return self._zlib.decompress(data, most)
        except zlib.error as exc:
            if not self._may_be_bare:
                raise _undecodable() from exc
        self._may_be_bare = False
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        return self.feed(data, most)

    def finish(self) -> None:
        """Raise unless the stream came to its end."""
        if not self._zlib.eof:
            raise _undecodable()


def _decoder(encoding: str) -> _Inflate | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Inflate(may_be_bare=False)
        case "deflate":
            return _Inflate(may_be_bare=True)
    raise FaultError(PROTOCOL, f"Content-Encoding {encoding[:40]!a} was not asked for")


def too_large(limit: int) -> FaultError:
    """Return the fault of a body of more than *limit* bytes."""
    return FaultError(BODY_SIZE, f"the body is longer than {limit} bytes")


def _undecodable() -> FaultError:
    return FaultError(PROTOCOL, "the body doesn't decode as its Content-Encoding says")

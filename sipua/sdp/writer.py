"""Pure. Our descriptions as they go out: one ``o=`` line for the whole dialog, and its version (RFC 3264 §8)."""

from dataclasses import replace

from sipua.sdp.model import Connection, MediaDescription, Origin, SessionDescription
from sipua.sdp.negotiate import LocalMedia


class DescriptionWriter:
    """Puts sections into descriptions and counts their versions.

    User name, identifier and address of ``o=`` are those of the first description, even if the media move.
    """

    def __init__(self, origin: Origin, sent: SessionDescription | None = None) -> None:
        self._origin = origin
        self._sent = sent

    @classmethod
    def start(cls, local: LocalMedia, session_id: int, version: int) -> "DescriptionWriter":
        """Return the writer of a new dialog."""
        return cls(Origin("-", str(session_id), str(version), local.address, local.address_type))

    @classmethod
    def after(cls, sent: SessionDescription) -> "DescriptionWriter":
        """Return a writer that goes on from *sent*, a description of ours."""
        return cls(sent.origin, sent)

    def write(self, local: LocalMedia, sections: tuple[MediaDescription, ...], timings: tuple[str, ...]) -> SessionDescription:
        """Return the description; its version grows by one if anything differs from the last one written.

        An offer that was refused counts: its version never stands for other content.
        """
        connection = Connection(local.address, local.address_type)
        description = SessionDescription(self._origin, connection=connection, timings=timings, media=sections)
        if self._sent is not None and description != self._sent:
            self._origin = replace(self._origin, version=str(int(self._origin.version) + 1))
            description = replace(description, origin=self._origin)
        self._sent = description
        return description

"""Pure. The offer/answer machine of one dialog (RFC 3264; RFC 3261 §13.2.1, §14; RFC 3311 §5; RFC 6337).

Owns which offer is open, what was agreed last, the ``o=`` version, and the wish for hold. Does not own the SIP messages
that carry the descriptions. Nothing here waits: it has no timers, and an input returns the value the caller needs next
(a description to send, what was agreed, or a :class:`Refusal`) in place of effects. Its table is docs/spec/offer-answer.md.

What a peer sends never raises; :class:`CallError` means that our own side asked for something out of turn.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from sipua.errors import CallError
from sipua.sdp.first import FirstAnswers, KnownAnswer, head_of, read_offer
from sipua.sdp.model import Direction, MediaDescription, SessionDescription
from sipua.sdp.negotiate import (
    Formats,
    LocalMedia,
    Negotiated,
    Refusal,
    agree,
    audio_formats,
    audio_section,
    find_audio,
    known_formats,
    offered_formats,
    refused_sections,
    remote_direction,
)
from sipua.sdp.parser import parse_sdp, serialize_sdp
from sipua.sdp.writer import DescriptionWriter

FIRST_ANSWERS = FirstAnswers()
"""What first offers came to, for all dialogs."""


class OfferAnswerState(StrEnum):
    """Whose offer waits for an answer."""

    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have_local_offer"
    HAVE_REMOTE_OFFER = "have_remote_offer"


@dataclass(frozen=True, slots=True)
class Answered:
    """Our answer and what it settles."""

    description: SessionDescription
    negotiated: Negotiated


@dataclass(frozen=True, slots=True)
class _Offer:
    """An open offer: its description, where the audio is, the formats in it, and the direction we want once it is settled."""

    description: SessionDescription
    index: int
    formats: Formats
    wish: Direction


class OfferAnswer:
    """Offers and answers of one dialog, one open at a time."""

    __slots__ = (
        "_current",
        "_index",
        "_known",
        "_last_offer",
        "_open",
        "_origin",
        "_ours",
        "_theirs",
        "_wish",
        "_writer",
        "local",
        "state",
    )

    def __init__(self, local: LocalMedia, session_id: int, version: int = 1) -> None:
        self.state = OfferAnswerState.STABLE
        self.local = local
        self._current: Negotiated | None = None
        self._known: KnownAnswer | None = None  # in force: worked out when somebody asks, from their text and our end of then
        self._ours: SessionDescription | LocalMedia | None = None
        self._theirs: SessionDescription | bytes | None = None
        self._origin = (local, session_id, version)
        self._writer: DescriptionWriter | None = None
        self._open: _Offer | None = None
        self._last_offer: _Offer | None = None
        self._index = 0
        self._wish = local.direction

    @property
    def current(self) -> Negotiated | None:
        """What was agreed last."""
        if self._current is None and self._known is not None and isinstance(self._theirs, bytes):
            offer = read_offer(self._theirs)
            self._current = None if offer is None else self._known.settled(offer)
        return self._current

    @property
    def local_description(self) -> SessionDescription | None:
        """Our side of what was agreed last."""
        ours = self._ours
        if isinstance(ours, LocalMedia):
            return None if self._known is None else parse_sdp(self._known.text(head_of(*self._origin, ours), ours))
        return ours

    @property
    def remote_description(self) -> SessionDescription | None:
        """The peer's side of what was agreed last."""
        return parse_sdp(self._theirs) if isinstance(self._theirs, bytes) else self._theirs

    @property
    def _pen(self) -> DescriptionWriter:
        """The writer of our descriptions, made when there is something to write."""
        if self._writer is None:
            sent = self.local_description
            self._writer = DescriptionWriter.start(*self._origin) if sent is None else DescriptionWriter.after(sent)
        return self._writer

    @property
    def is_on_hold(self) -> bool:
        """True if we put the peer on hold: we would receive, but asked it not to send."""
        return self.local.direction.receives and not self._wish.receives

    def relocate(self, address: str, port: int) -> None:
        """Use another address and port from the next description on; ``o=`` keeps its own (RFC 3264 §8)."""
        self.local = replace(self.local, address=address, port=port)

    def make_offer(self, wish: Direction | None = None, *, full: bool = False) -> SessionDescription:
        """Open an offer and return it. Raises :class:`CallError` if one is open already.

        The first offer, and one with *full* (for a re-INVITE without SDP, RFC 3261 §14.2), has all that we can do. Otherwise
        what was said last is repeated: unchanged, with the same version, if *wish* is None and no address moved.
        *wish* is the direction that we want from now on.
        """
        if self.state is not OfferAnswerState.STABLE:
            raise CallError(f"no offer while {self.state}")
        wanted = wish or self._wish
        agreed = self.local_description
        if agreed is None:
            formats = offered_formats(self.local)
            sections: tuple[MediaDescription, ...] = (audio_section(self.local, formats, wanted),)
        else:
            said = agreed.media[self._index]
            known = known_formats(said, self.local)
            formats = offered_formats(self.local, known) if full else known
            # A refresh repeats our last word; a full offer must not repeat an answer to a hold, or no peer could end it.
            shown = wanted if full or wish is not None else said.direction or wanted
            audio = audio_section(self.local, formats, shown, said.protocol)
            # Sections keep their places, none is ever deleted (RFC 3264 §8).
            sections = (*agreed.media[: self._index], audio, *agreed.media[self._index + 1 :])
        description = self._pen.write(self.local, sections, agreed.timings if agreed else ("0 0",))
        self._open = self._last_offer = _Offer(description, self._index, formats, wanted)
        self._enter(OfferAnswerState.HAVE_LOCAL_OFFER)
        return description

    def hold(self) -> SessionDescription:
        """Offer to go on without getting media (RFC 3264 §8.4). Raises :class:`CallError` as :meth:`make_offer`."""
        return self.make_offer(self.local.direction.without_receive)

    def resume(self) -> SessionDescription:
        """Offer the direction that we want without hold. Raises :class:`CallError` as :meth:`make_offer`."""
        return self.make_offer(self.local.direction)

    def receive_answer(self, answer: SessionDescription) -> Negotiated | Refusal:
        """Settle our open offer with the peer's *answer*; a :class:`Refusal` leaves what was agreed before in force.

        With no offer of ours open the description repeats an answer that came in an earlier response, and is ignored
        (RFC 3261 §13.2.1): the return value is what is in force.
        """
        offer = self._open
        if self.state is not OfferAnswerState.HAVE_LOCAL_OFFER or offer is None:
            return self.current or Refusal(400, "answer without an offer")
        # We diverge: sections that the answer leaves out or adds are passed over (RFC 3264 §6 wants as many as we sent).
        known = audio_formats(answer, offer.index, self.local)
        said = offer.description.media[offer.index].direction or Direction.SENDRECV
        settled = known if isinstance(known, Refusal) else agree(answer, offer.index, known, offer.formats, said)
        if isinstance(settled, Negotiated):
            self._settle(offer, settled, offer.description, answer)
        else:
            self.rollback()
        return settled

    def receive_offer(self, offer: SessionDescription) -> Refusal | None:
        """Take the peer's *offer*; None means that :meth:`make_answer` can answer it.

        491 if ours is open, 500 with Retry-After if theirs is (RFC 3261 §14.2, RFC 3311 §5.2), 488 if no audio will do:
        then the state is unchanged and the former session goes on.
        """
        if self.state is OfferAnswerState.HAVE_LOCAL_OFFER:
            return Refusal(491, "an offer of ours is open")
        if self.state is OfferAnswerState.HAVE_REMOTE_OFFER:
            return Refusal(500, "an earlier offer is open", retry_after=True)
        # We diverge: an offer with fewer sections than before is taken (RFC 3264 §8 forbids it, back-to-back agents do it).
        found = find_audio(offer, self.local)
        if isinstance(found, Refusal):
            return found
        self._open = _Offer(offer, *found, self._wish)
        self._enter(OfferAnswerState.HAVE_REMOTE_OFFER)
        return None

    def make_answer(self, wish: Direction | None = None) -> Answered:
        """Answer the open offer of the peer. Raises :class:`CallError` if there is none.

        *wish* is the direction that we want from now on; the answer says what the offer leaves of it (RFC 3264 §6.1).
        """
        offer = self._open
        if self.state is not OfferAnswerState.HAVE_REMOTE_OFFER or offer is None:
            raise CallError(f"no answer while {self.state}")
        theirs = offer.description.media[offer.index]
        wanted = wish or offer.wish
        shown = wanted.within(remote_direction(offer.description, theirs).reversed)
        sections = refused_sections(offer.description.media)
        sections[offer.index] = audio_section(self.local, offer.formats, shown, theirs.protocol)
        settled = agree(offer.description, offer.index, offer.formats, offer.formats, shown)
        if isinstance(settled, Refusal):  # never: the same formats are on both sides
            raise CallError(settled.text)
        description = self._pen.write(self.local, tuple(sections), offer.description.timings)
        self._settle(replace(offer, wish=wanted), settled, description, offer.description)
        return Answered(description, settled)

    def answer(self, body: bytes) -> bytes | Refusal:
        """Take the offer in *body* and answer it: :meth:`receive_offer` and :meth:`make_answer` in one.

        The first offer of a dialog is answered by what is known of offers like it, and both descriptions stay text until they are needed.
        Raises :class:`ParseError` for what is no description.
        """
        is_first = self._writer is None and self._ours is None and self.state is OfferAnswerState.STABLE
        offer = read_offer(body) if is_first else None
        if offer is None:
            answered = self._work_out(body)
            return answered if isinstance(answered, Refusal) else serialize_sdp(answered.description)
        head = head_of(*self._origin, self.local)
        known = FIRST_ANSWERS.find(offer, self.local)
        if known is not None:
            self._known, self._ours, self._theirs = known, self.local, body
            return known.text(head, self.local)
        answered = self._work_out(body)
        if isinstance(answered, Refusal):
            return answered
        made = serialize_sdp(answered.description)
        FIRST_ANSWERS.learn(offer, self.local, head, made.decode(), answered.negotiated)
        return made

    def _work_out(self, body: bytes) -> Answered | Refusal:
        return self.receive_offer(parse_sdp(body)) or self.make_answer()

    def decline(self, offer: SessionDescription) -> SessionDescription:
        """Return an answer that refuses every stream of *offer* (RFC 3264 §6); nothing changes by it."""
        return self._pen.write(self.local, tuple(refused_sections(offer.media)), offer.timings)

    def rollback(self) -> None:
        """Forget the open offer, whoever made it: it was refused, timed out or its transaction ended (RFC 3261 §14.1)."""
        self._enter(OfferAnswerState.STABLE)

    def fork(self) -> "OfferAnswer":
        """Return a machine for a further early dialog of the same INVITE: our last offer, open again (RFC 3261 §13.2.2.4).

        Raises :class:`CallError` if we made no offer.
        """
        if self._last_offer is None:
            raise CallError("no offer to fork")
        twin = OfferAnswer(self.local, session_id=0)
        twin._writer = DescriptionWriter.after(self._last_offer.description)
        twin._open = twin._last_offer = self._last_offer
        twin._enter(OfferAnswerState.HAVE_LOCAL_OFFER)
        return twin

    def _settle(self, offer: _Offer, agreed: Negotiated, ours: SessionDescription, theirs: SessionDescription) -> None:
        self._current, self._ours, self._theirs, self._known = agreed, ours, theirs, None
        self._index, self._wish = offer.index, offer.wish
        self._enter(OfferAnswerState.STABLE)

    def _enter(self, state: OfferAnswerState) -> None:
        if state is OfferAnswerState.STABLE:
            self._open = None
        self.state = state

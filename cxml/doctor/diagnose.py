"""Pure. From what was seen of a PBX to findings (docs/spec/doctor.md): the way to it, who we are to it, calls and audio."""

from collections.abc import Iterator

from cxml.doctor.findings import Finding, finding
from cxml.doctor.pbx import PbxKind, kind_of, product_of
from cxml.doctor.seen import CallSeen, MediaSeen, Messages, Observed, Purpose, Seen, final, is_private, requests, responses, status_of
from cxml.doctor.transfers import transfer_findings
from sipua.errors import ParseError
from sipua.message import Address
from sipua.sdp import parse_sdp

_TLS_FAULTS = ("tls to ", "tls is not set up", "tls handshake")
"""Not each fault with TLS in its address: nobody may listen there."""

REPEATS = 2
"""Copies of a 200 after our ACK that mean it was lost: one may cross it."""

_CHALLENGES = (401, 407)
_UNKNOWN = (404, 484, 604)
_NOT_TAKEN = (408, 480, 486, 487, 600, 603)


def diagnose(observed: Observed) -> tuple[Finding, ...]:
    """Return the findings in the order of the steps, each once."""
    kind = kind_of(product_of(observed.messages))
    found: dict[str, Finding] = {}
    for item in _walk(observed, kind):
        found.setdefault(item.code, item)
    for ringing in ("", "_ringing"):
        if f"false_success{ringing}" in found:  # what is certain needs no suspicion
            found.pop(f"early_success{ringing}", None)
    return tuple(found.values())


def _walk(observed: Observed, kind: PbxKind) -> Iterator[Finding]:
    yield from _way(observed, kind)
    if observed.options is not None:
        yield from _options(observed, observed.options, kind)
    yield from _addresses(observed, kind)
    if observed.register is not None:
        yield from _register(observed, observed.register, kind)
    for call in (call for call in observed.calls if not call.is_cut_off):
        yield from _call(observed, call, kind)
        if call.transfer is not None:
            yield from transfer_findings(call, call.transfer, kind)


def _way(observed: Observed, kind: PbxKind) -> Iterator[Finding]:
    text = observed.fault.lower()
    if observed.is_unresolved:
        yield finding("name_unknown", kind, observed.fault)
    elif any(phrase in text for phrase in _TLS_FAULTS):
        yield finding("tls_failed", kind, observed.fault)
    elif text:
        yield finding("no_way", kind, observed.fault)


def _options(observed: Observed, messages: Messages, kind: PbxKind) -> Iterator[Finding]:
    answer = final(messages, "OPTIONS")
    if answer is None:
        if not observed.fault:
            yield finding("no_answer", kind, f"OPTIONS {observed.uri}: no answer")
    elif status_of(answer) in _CHALLENGES:
        yield from _unauthenticated(observed, messages, "OPTIONS", kind)
    elif status_of(answer) >= 300:
        yield finding("options_refused", kind, answer.line)
    elif (allow := answer.header("Allow")) and "REFER" not in allow.upper().replace(",", " ").split():
        yield finding("no_refer_in_allow", kind, f"Allow: {allow}")


def _unauthenticated(observed: Observed, messages: Messages, method: str, kind: PbxKind) -> Iterator[Finding]:
    """A challenge that stays: nothing to answer it with, no way to answer it, or a wrong answer."""
    answer = final(messages, method)
    line = answer.line if answer else ""
    asked = "" if answer is None else answer.header("WWW-Authenticate") or answer.header("Proxy-Authenticate")
    if not observed.has_password:
        yield finding("not_recognized", kind, line)
    elif not any(seen.header("Authorization") or seen.header("Proxy-Authorization") for seen in requests(messages, method, ours=True)):
        yield finding("challenge_unusable", kind, line, asked)
    else:
        yield finding("wrong_password", kind, line)


def _register(observed: Observed, messages: Messages, kind: PbxKind) -> Iterator[Finding]:
    answer = final(messages, "REGISTER")
    if answer is None:
        yield finding("no_answer", kind, "REGISTER: no answer")
        return
    status = status_of(answer)
    was_asked = any(status_of(seen) in _CHALLENGES for seen in responses(messages, "REGISTER"))
    if status in _CHALLENGES:
        yield from _unauthenticated(observed, messages, "REGISTER", kind)
    elif status == 403:
        yield finding("wrong_password" if was_asked else "forbidden", kind, answer.line)
    elif status == 404:
        yield finding("unknown_user", kind, answer.line)
    elif status == 400 and not any(seen.header("Contact") for seen in requests(messages, "REGISTER", ours=True)):
        yield finding("query_unanswered", kind, answer.line)
    elif status >= 300:
        yield finding("register_failed", kind, answer.line)
    elif observed.wants_binding and not answer.header("Contact"):
        yield finding("not_bound", kind, answer.line)


def _addresses(observed: Observed, kind: PbxKind) -> Iterator[Finding]:
    """Compare the addresses that both sides tell with those that are used."""
    is_public = is_private(observed.address) is False
    for seen in observed.messages:
        contact = _host_of(seen.header("Contact"))
        if is_public and contact and is_private(contact):
            ours = seen.is_ours and seen.method == "INVITE"
            theirs = not seen.is_ours and seen.method == "INVITE" and 200 <= status_of(seen) < 300
            if ours or theirs:
                yield finding("our_contact_private" if ours else "pbx_contact_private", kind, f"{seen.line}, Contact: {contact}")
        if not seen.is_ours and status_of(seen):
            yield from _translated(seen, kind)


def _translated(seen: Seen, kind: PbxKind) -> Iterator[Finding]:
    """A PBX writes into our Via from where a request really came (RFC 3261 §18.2.1); an advertised name can't be compared."""
    try:
        via = seen.message.via
    except ParseError:
        return
    received = via.params.get("received") or ""
    host = via.host.strip("[]")
    if received and is_private(host) is not None and received.strip("[]") != host:
        yield finding("address_translated", kind, f"{seen.line}, Via: we say {host}, the PBX sees {received}")


def _host_of(contact: str) -> str:
    try:
        return Address.parse(contact).uri.bare_host if contact and contact != "*" else ""
    except ParseError:
        return ""


def _call(observed: Observed, call: CallSeen, kind: PbxKind) -> Iterator[Finding]:
    answer = final(call.messages, "INVITE")
    if not requests(call.messages, "INVITE", ours=True):
        yield finding("call_not_sent", kind, call.fault or f"INVITE {call.extension}")
    elif answer is None:
        rang = responses(call.messages, "INVITE")
        evidence = call.fault or f"INVITE {call.extension}: no answer"
        yield finding("not_taken" if rang else "no_answer", kind, *(seen.line for seen in rang[-1:]), evidence)
    elif status_of(answer) >= 300:
        yield from _refused(observed, call, answer, kind)
    else:
        yield from _answered(observed, call, answer, kind)


def _refused(observed: Observed, call: CallSeen, answer: Seen, kind: PbxKind) -> Iterator[Finding]:
    status = status_of(answer)
    evidence = (answer.line, f"Warning: {warning}" if (warning := answer.header("Warning")) else "")
    require = answer.header("Require") or answer.header("Unsupported")
    was_asked = any(status_of(seen) in _CHALLENGES for seen in responses(call.messages, "INVITE"))
    if status in _CHALLENGES:
        yield from _unauthenticated(observed, call.messages, "INVITE", kind)
    elif status == 403:
        yield finding("wrong_password" if was_asked else "forbidden", kind, *evidence)
    elif status in _UNKNOWN:
        yield finding("extension_unknown", kind, *evidence, f"--call {call.extension}")
    elif status in (488, 606):
        yield finding("media_refused", kind, *evidence)
    elif status == 422 or (status in (420, 421) and "timer" in require):
        yield finding("timer_required", kind, *evidence, f"Min-SE: {answer.header('Min-SE')}" if answer.header("Min-SE") else "")
    elif status in (420, 421):
        yield finding("extension_required", kind, *evidence, require)
    elif status in _NOT_TAKEN:
        yield finding("not_taken", kind, *evidence)
    else:
        yield finding("call_failed", kind, *evidence)


def _answered(observed: Observed, call: CallSeen, answer: Seen, kind: PbxKind) -> Iterator[Finding]:
    acks = requests(call.messages, "ACK", ours=True)
    late = [seen for seen in responses(call.messages, "INVITE") if status_of(seen) == 200 and acks and seen.at_s > acks[0].at_s]
    if len(late) >= REPEATS:
        yield finding("ack_lost", kind, f"{late[0].line} ({len(late)} times after our ACK)", f"Contact: {answer.header('Contact')}")
    wanted = _audio_of(answer)
    if wanted is not None:
        protocol, address = wanted
        if "SAVP" in protocol:
            yield finding("srtp_required", kind, f"m=audio … {protocol}")
        elif is_private(observed.address) is False and is_private(address):
            yield finding("audio_address_private", kind, f"c= {address}")
    byes = requests(call.messages, "BYE", ours=False)
    if byes and not requests(call.messages, "REFER", ours=True):
        yield finding("hung_up", kind, byes[0].line, f"Reason: {reason}" if (reason := byes[0].header("Reason")) else "")
    if call.media is not None and call.media.waited_s and call.purpose is Purpose.CALL:
        yield from _media(call.media, wanted[1] if wanted else "", kind)


def _audio_of(answer: Seen) -> tuple[str, str] | None:
    """Return protocol and address of the audio in an answer, None without a readable description."""
    try:
        session = parse_sdp(answer.message.body)
    except ParseError:
        return None
    for media in session.media:
        if media.media == "audio":
            connection = session.connection_of(media)
            return media.protocol, connection.host if connection else ""
    return None


def _media(media: MediaSeen, address: str, kind: PbxKind) -> Iterator[Finding]:
    measured = f"{media.waited_s:g} s: {media.received} packets came, {media.sent} went to {address or 'nowhere'}"
    if media.errors:
        yield finding("audio_refused", kind, f"{measured}, {media.errors} errors")
    if media.unexpected and not media.received:
        yield finding("audio_unexpected", kind, f"{measured}, {media.unexpected} in another codec")
    elif not media.received:
        yield finding("no_audio", kind, measured)
    if not media.sent:
        yield finding("no_audio_sent", kind, measured)

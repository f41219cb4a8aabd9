"""Pure. What can be wrong with a PBX, in plain words, and the setting behind it. The table in docs/spec/doctor.md is made from this."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Advice:
    """A kind of finding: its severity, what is wrong, and what to do: at any PBX, at Asterisk, at FreeSWITCH."""

    severity: str
    text: str
    remedy: str = ""
    asterisk: str = ""
    freeswitch: str = ""


_REACH = {
    "name_unknown": Advice(
        "error",
        "The name in the peer's uri can't be resolved.",
        "Correct [[peers]] uri or the name server; an address works without one.",
    ),
    "no_way": Advice(
        "error",
        "There is no way to the PBX.",
        "Check address, port and transport in [[peers]] uri, the PBX's listener, the firewall between, and that [sip] listen has an"
        " address of the same family.",
        "pjsip.conf: a type=transport section with that protocol and bind; `pjsip show transports`.",
        "The profile's sip-ip and sip-port; `sofia status`.",
    ),
    "tls_failed": Advice(
        "error",
        "The TLS handshake with the PBX failed.",
        "Check the PBX's certificate, the name of it in [[peers]] uri, and the authorities in [tls] ca_file.",
        "pjsip.conf, type=transport: cert_file, priv_key_file, ca_list_file, method; docs/howto/beside-asterisk-tls.md.",
        "The profile's tls-cert-dir, tls-sip-port and tls-version.",
    ),
    "no_answer": Advice(
        "error",
        "The PBX does not answer.",
        "Nobody listens there, a firewall drops it, or the PBX ignores whom it does not know.",
        "`pjsip set logger on` shows whether the request arrives; pjsip.conf, type=identify: match must have our address.",
        "`sofia global siptrace on` shows whether the request arrives; check sip-port and apply-inbound-acl of the profile.",
    ),
    "not_recognized": Advice(
        "error",
        "The PBX asks for a password, and none is configured: it does not know us by our address.",
        "Either let it know our address, or set [[peers]] username and password.",
        "pjsip.conf: type=identify, endpoint=…, match=<our address>. It goes by address only, so the port of this check does not matter.",
        "Put our address into the ACL that apply-inbound-acl of the profile names.",
    ),
    "options_refused": Advice("note", "The PBX refuses OPTIONS. Calls may work all the same."),
    "no_refer_in_allow": Advice(
        "warning",
        "The PBX does not list REFER in Allow: transfers are probably switched off or not known to it.",
        "",
        "Load res_pjsip_refer.so; pjsip.conf, type=endpoint: allow_transfer=yes.",
        "The profile must not have disable-transfer=true.",
    ),
}
_IDENTITY = {
    "wrong_password": Advice(
        "error",
        "The PBX refuses our user name and password.",
        "Compare [[peers]] username and password with the PBX. Most PBXs don't tell a wrong password from an unknown user.",
        "pjsip.conf, type=auth: username, password, realm, and that auth= of the endpoint names this section; for calls the user name must"
        " be that of the endpoint (endpoint_identifier_order).",
        "The user's file in the directory: user id and param password, in the domain that is asked for.",
    ),
    "unknown_user": Advice(
        "error",
        "The PBX does not know that user.",
        "Correct [[peers]] username.",
        "pjsip.conf: aors= of the endpoint must name a type=aor section with the user's name.",
        "The directory has no such user in that domain.",
    ),
    "forbidden": Advice(
        "error",
        "The PBX forbids it, before it has asked for a password.",
        "",
        "pjsip.conf, type=endpoint: acl, aors and, for REGISTER, max_contacts of the aor.",
        "apply-inbound-acl or apply-register-acl of the profile.",
    ),
    "challenge_unusable": Advice(
        "error",
        "The PBX asks for a password in a way that can't be answered: its algorithm, quality of protection or realm.",
        "MD5, SHA-256 and SHA-512-256 are spoken.",
        "pjsip.conf, type=auth: supported_algorithms_uas=MD5,SHA-256 and a realm.",
        "The profile's challenge-realm and rfc8760-auth-algorithms.",
    ),
    "register_failed": Advice("error", "The registration fails.", "See the PBX's log for this status."),
    "not_bound": Advice(
        "warning",
        "The password is right, but nobody is registered under that user now: the PBX can't find cxmld.",
        "Start the daemon with register = true, then check again.",
    ),
    "query_unanswered": Advice(
        "note",
        "The PBX does not answer a REGISTER that only asks, so the password was not tested by it.",
        "--register binds for real and removes the binding again; it may take the place of the running daemon's.",
    ),
}
_CALL = {
    "call_not_sent": Advice(
        "error",
        "The test call could not be sent.",
        "If no RTP port is free, see [media] rtp_ports; else see [sip] listen: the address must be one that reaches the PBX.",
    ),
    "extension_unknown": Advice(
        "error",
        "The PBX has no such extension for calls from cxmld.",
        "Check --call.",
        "pjsip.conf, type=endpoint: context names where extensions.conf looks; `dialplan show <context>`.",
        "The profile's or user's context; `xml_locate dialplan`.",
    ),
    "not_taken": Advice("warning", "The extension of the test call did not answer.", "Choose one that answers by itself, or take it up."),
    "media_refused": Advice(
        "error",
        "The PBX refuses our audio: no codec in common, or it demands encryption. cxmld offers PCMU and PCMA over plain RTP.",
        "",
        "pjsip.conf, type=endpoint: allow=ulaw,alaw and media_encryption=no.",
        "inbound-codec-prefs of the profile must have PCMU or PCMA; rtp_secure_media must not be mandatory.",
    ),
    "srtp_required": Advice(
        "error",
        "The PBX answers with encrypted audio only, which cxmld does not speak.",
        "",
        "pjsip.conf, type=endpoint: media_encryption=no, or media_encryption_optimistic=yes.",
        "rtp_secure_media=optional or false.",
    ),
    "timer_required": Advice(
        "error",
        "The PBX insists on a session timer that was not agreed on.",
        "",
        "pjsip.conf, type=endpoint: timers=yes, not required or always; timers_min_se and timers_sess_expires not below 90.",
        "The profile's enable-timer, session-timeout and minimum-session-expires.",
    ),
    "extension_required": Advice(
        "error",
        "The PBX demands a SIP extension that was not offered.",
        "",
        "pjsip.conf, type=endpoint: 100rel=yes, not required.",
        "The profile's enable-100rel.",
    ),
    "call_failed": Advice("error", "The test call fails.", "See the PBX's log for this status."),
    "ack_lost": Advice(
        "error",
        "The PBX repeats its 200: our ACK does not arrive. It goes to the Contact of that 200, or to the Record-Route of a proxy.",
        "The Contact that the PBX gives must be an address that cxmld can reach.",
        "pjsip.conf, type=transport: external_signaling_address and local_net.",
        "The profile's ext-sip-ip, and local-network-acl.",
    ),
    "pbx_contact_private": Advice(
        "warning",
        "The PBX is asked at a public address and gives a private one as Contact: ACK, BYE and REFER can't follow it from elsewhere.",
        "",
        "pjsip.conf, type=transport: external_signaling_address and local_net.",
        "The profile's ext-sip-ip.",
    ),
    "our_contact_private": Advice(
        "error",
        "The PBX is at a public address, and our Contact is a private one: its BYE and NOTIFY can't arrive.",
        "Set [sip] advertised_host to the public address and forward port and RTP ports, or let the PBX answer where requests come from.",
        "pjsip.conf, type=endpoint: rewrite_contact=yes and force_rport=yes.",
        "The profile's NDLB-received-in-nat-reg-contact or aggressive-nat-detection.",
    ),
    "address_translated": Advice(
        "warning",
        "Our requests reach the PBX from another address than the one in our Contact: a NAT, or a wrong [sip] advertised_host.",
        "Set [sip] advertised_host to the address that the PBX sees, or let the PBX answer where requests come from.",
        "pjsip.conf, type=endpoint: rewrite_contact=yes and force_rport=yes.",
        "The profile's aggressive-nat-detection.",
    ),
    "hung_up": Advice(
        "warning",
        "The PBX ended the test call while it was up.",
        'Choose an extension that stays on the line; or a media time-out struck: [media] mode = "silence" sends audio.',
        "pjsip.conf, type=endpoint: rtp_timeout.",
        "The profile's rtp-timeout-sec or media_timeout.",
    ),
}
_MEDIA = {
    "no_audio": Advice(
        "warning",
        "No audio came from the PBX. What cxmld plays or records may not work; transfers do.",
        "A firewall between, a wrong address in our description ([sip] advertised_host), or an extension that is silent. If --call is an"
        " echo test, it may also be our audio that does not arrive. Let UDP through for [media] rtp_ports both ways.",
        "pjsip.conf, type=endpoint: rtp_symmetric=yes, direct_media=no; rtp.conf: rtpstart, rtpend.",
        "The profile's rtp-ip and ext-rtp-ip; switch.conf.xml: rtp-start-port, rtp-end-port.",
    ),
    "no_audio_sent": Advice("warning", "No audio could be sent to the PBX: its description has no address for it.", "The call is one-way."),
    "audio_address_private": Advice(
        "error",
        "The PBX is at a public address and wants audio sent to a private one.",
        "",
        "pjsip.conf, type=transport: external_media_address and local_net; or media_address of the endpoint.",
        "The profile's ext-rtp-ip.",
    ),
    "audio_unexpected": Advice(
        "warning",
        "Audio came in another codec than was agreed on.",
        "",
        "pjsip.conf, type=endpoint: disallow=all, allow=ulaw,alaw; direct_media=no.",
        "The profile's inbound-codec-negotiation; inbound-late-negotiation.",
    ),
    "audio_refused": Advice(
        "error",
        "The host that the PBX wants audio sent to says that nobody takes it.",
        "A firewall, or a description with the wrong address.",
        "pjsip.conf, type=endpoint: direct_media=no, bind_rtp_to_media_address.",
        "The profile's rtp-ip.",
    ),
}
_TONES = (
    "The ringing tone that Asterisk plays counts as an answer. extensions.conf: Set(CHANNEL(tonezone)=none) before Dial(), with a zone in"
    " indications.conf that has no ring; docs/howto/beside-asterisk.md."
)
_BLIND = f"pjsip.conf, type=endpoint: refer_blind_progress=yes. If that is so: the ringing was passed over. {_TONES}"
_CONFIRM = "Set confirm_blind_transfer=true on the leg to cxmld, or confirm-blind-transfer=true on the profile."

_TRANSFER = {
    "transfer_forbidden": Advice(
        "error",
        "The PBX forbids transfers.",
        "",
        "pjsip.conf, type=endpoint: allow_transfer=yes.",
        "The profile must not have disable-transfer=true; the channel not deny_refer_requests.",
    ),
    "refer_unanswered": Advice(
        "error",
        "The PBX does not answer the REFER.",
        "Requests in a call go to the Contact of the PBX: it must be reachable.",
        "pjsip.conf, type=transport: external_signaling_address.",
        "The profile's ext-sip-ip.",
    ),
    "refer_refused": Advice("error", "The PBX refuses the REFER.", "See the PBX's log for this status."),
    "target_unknown": Advice(
        "warning",
        "The PBX does not know the target of the transfer. It looks up the user part only, in the context of transfers.",
        "Check --transfer-to.",
        "pjsip.conf, type=endpoint: context; or the channel variable TRANSFER_CONTEXT.",
        "The channel variable force_transfer_context, else the context of the leg.",
    ),
    "not_bridged": Advice(
        "note",
        "The transfer could not be tested: the test call is not connected to another party whom the PBX could transfer.",
        "Choose for --call an extension that rings a phone, not an echo test.",
        "An extension with Dial(); Echo() and Playback() are not bridged.",
        "An extension with bridge; echo and playback have one leg.",
    ),
    "no_notify": Advice(
        "error",
        "The PBX accepted the transfer and never reported what became of it: no NOTIFY came.",
        "NOTIFY goes to our Contact: check [sip] advertised_host and the firewall. If the target answered and was silent, Asterisk reports"
        " nothing until audio flows.",
        "pjsip.conf, type=endpoint: rewrite_contact=yes behind a NAT.",
        "A target without a user part is never reported; nor is one whose caller hung up.",
    ),
    "no_subscription": Advice(
        "warning", "The PBX accepted the transfer and refuses to report what becomes of it (Refer-Sub: false).", "It must support RFC 3515."
    ),
    "notify_without_id": Advice("note", "NOTIFY has no Event id, so two transfers of one call can only be told apart by their order."),
    "subscription_short": Advice(
        "warning",
        "The PBX reports for less than 30 s: a phone that rings longer is never reported.",
        "Raise the expiry of REFER subscriptions, or let targets ring shorter.",
    ),
    "false_success": Advice(
        "error",
        "False success: a transfer to a target that does not answer was reported as answered, without any ringing before it. Every transfer"
        " looks like a success.",
        "",
        _BLIND,
        _CONFIRM,
    ),
    "false_success_ringing": Advice(
        "error",
        "False success: a transfer to a target that does not answer was reported as answered as soon as it rang. Every transfer that rings"
        " looks like a success.",
        "",
        _TONES,
        _CONFIRM,
    ),
    "early_success": Advice(
        "warning",
        "Suspicion of false success: the transfer was reported as answered at once, before a person can have answered. CxmldReferConfidence"
        " would be low. A machine may answer so fast: --transfer-to-unanswered gives certainty.",
        "",
        _BLIND,
        _CONFIRM,
    ),
    "early_success_ringing": Advice(
        "warning",
        "Suspicion of false success: the transfer was reported as answered as soon as it rang. CxmldReferConfidence would be low."
        " --transfer-to-unanswered gives certainty.",
        "",
        _TONES,
        _CONFIRM,
    ),
    "transfer_failed": Advice(
        "warning",
        "The transfer failed, as the PBX reports it.",
        "If the target should have answered, see the PBX's log.",
        "503 stands for every cause but busy; it also comes when a target has answered, was silent and has ended.",
        "403 stands for: no answer, no such extension, or no bridge.",
    ),
    "transfer_unreported": Advice("warning", "The PBX ended its report without a result, or hung up before it.", "See [refer] on_bye."),
    "not_settled": Advice(
        "note",
        "The target did not answer within the time of this check, and the PBX did not say otherwise: as it should be for one that never"
        " answers.",
    ),
    "tel_refused": Advice("note", "The PBX refuses tel: URIs as targets; cxmld sends none.", "Write numbers as sip:NUMBER@<PBX> in <Sip>."),
    "host_ignored": Advice(
        "note",
        "Only the user part of the target counts: the PBX looked it up in its own dialplan, whatever host stands behind it.",
        "To transfer elsewhere, give the PBX an extension that calls there.",
    ),
}

CATALOGUE: Mapping[str, Advice] = MappingProxyType({**_REACH, **_IDENTITY, **_CALL, **_MEDIA, **_TRANSFER})
"""Code -> what there is to say about it."""

"""Pure. The signatures of a webhook request, as the official request validators of Twilio and SignalWire check them."""

import base64
import hmac
from collections.abc import Mapping

TWILIO_HEADER = "X-Twilio-Signature"
SIGNALWIRE_HEADER = "X-SignalWire-Signature"


def signature(key: str, url: str, params: Mapping[str, str]) -> str:
    """Return base64(HMAC-SHA1(key, url + name + value of each parameter, sorted by name)).

    *url* is the URL as sent: with its query and its port if it names one, without userinfo and fragment. *params* are those of the
    form body, decoded; empty for GET, whose parameters are in the URL.
    """
    text = url + "".join(name + params[name] for name in sorted(params))
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha1")).decode("ascii")


def signature_headers(auth_token: str, signing_key: str, url: str, params: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the signature headers: one for each key that isn't empty."""
    keys = ((TWILIO_HEADER, auth_token), (SIGNALWIRE_HEADER, signing_key))
    return [(header, signature(key, url, params)) for header, key in keys if key]

"""Pure. The signatures of a webhook request, as the official request validators of Twilio and SignalWire check them."""

import base64
import hmac
from collections.abc import Mapping

from sipua.remembered import remembered

TWILIO_HEADER = "X-Twilio-Signature"
SIGNALWIRE_HEADER = "X-SignalWire-Signature"


def signature(key: str, url: str, params: Mapping[str, str]) -> str:
    """Return base64(HMAC-SHA1(key, url + name + value of each parameter, sorted by name)).

    *url* is the URL as sent: with its query and its port if it names one, without userinfo and fragment. *params* are those of the
    form body, decoded; empty for GET, whose parameters are in the URL.
    """
    return _sign(key, _signed_text(url, params))


def signature_headers(auth_token: str, signing_key: str, url: str, params: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the signature headers: one for each key that isn't empty."""
    if not auth_token and not signing_key:
        return []
    text = _signed_text(url, params)
    keys = ((TWILIO_HEADER, auth_token), (SIGNALWIRE_HEADER, signing_key))
    return [(header, _sign(key, text)) for header, key in keys if key]


def _signed_text(url: str, params: Mapping[str, str]) -> bytes:
    return (url + "".join([name + params[name] for name in sorted(params)])).encode()


def _sign(key: str, text: bytes) -> str:
    mac = _keyed(key).copy()
    mac.update(text)
    return base64.b64encode(mac.digest()).decode("ascii")


@remembered(8)
def _keyed(key: str) -> hmac.HMAC:
    """Return what is the same for everything that *key* signs."""
    return hmac.new(key.encode(), digestmod="sha1")

"""Pure. The settings of the daemon: every section, every key, its default and its one line of explanation.

``etc/cxmld.toml``, ``docs/reference/config.md`` and the checks are made from these classes. All are frozen; a default is
always a usable value. Times are in seconds and say so by ``_s``.
"""

from urllib.parse import unquote, urlsplit

from cxml.daemon.config.access import Access
from cxml.daemon.config.dns import Dns
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.section import Section
from cxml.daemon.config.server import Http, Limits, Log, Media, Sip, Store
from cxml.daemon.config.tls import Tls
from cxml.daemon.config.transfer import Refer
from cxml.daemon.config.web import Account, Voice, Webhook
from cxml.daemon.config.workers import Workers


class Config(Section):
    """The whole configuration."""

    sip: Sip = Sip()
    dns: Dns = Dns()
    http: Http = Http()
    voice: Voice = Voice()
    webhook: Webhook = Webhook()
    account: Account = Account()
    store: Store = Store()
    refer: Refer = Refer()
    media: Media = Media()
    access: Access = Access()
    tls: Tls = Tls()
    limits: Limits = Limits()
    workers: Workers = Workers()
    log: Log = Log()
    peers: tuple[Peer, ...] = ()

    def refer_for(self, peer: Peer | None) -> Refer:
        """Return the settings of transfers for calls of *peer*: its own where it has some, else those of ``[refer]``."""
        own = {} if peer is None else {key: value for key in Refer.model_fields if (value := getattr(peer, key)) is not None}
        return self.refer.model_copy(update=own) if own else self.refer

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text, for the log to leave out: tokens, keys, passwords, and credentials in URLs."""
        values = [
            self.account.auth_token,
            self.account.signing_key,
            *(secret for peer in self.peers for secret in (peer.password, peer.inbound_password)),
        ]
        texts = [value.get_secret_value() for value in values]
        for url in (self.voice.url, self.voice.fallback_url):
            userinfo = urlsplit(url).netloc.rpartition("@")[0]
            user, colon, password = userinfo.partition(":")
            texts += [password, unquote(password)] if colon else [user, unquote(user)]
        return tuple(dict.fromkeys(text for text in texts if text))

"""The configuration: sections and their settings, where they come from, and the checks that look at several of them."""

from cxml.calls.facts import SidStyle
from cxml.daemon.config.access import Access
from cxml.daemon.config.dns import Dns
from cxml.daemon.config.load import load_config
from cxml.daemon.config.model import Config
from cxml.daemon.config.peer import Peer
from cxml.daemon.config.server import Http, Limits, Log, LogFormat, LogLevel, Media, Sip, Store
from cxml.daemon.config.sources import FLAGS
from cxml.daemon.config.tls import Tls
from cxml.daemon.config.tls_checks import certificate_warning
from cxml.daemon.config.transfer import Refer
from cxml.daemon.config.web import Account, Voice, Webhook
from cxml.daemon.config.workers import Workers

__all__ = [
    "FLAGS",
    "Access",
    "Account",
    "Config",
    "Dns",
    "Http",
    "Limits",
    "Log",
    "LogFormat",
    "LogLevel",
    "Media",
    "Peer",
    "Refer",
    "SidStyle",
    "Sip",
    "Store",
    "Tls",
    "Voice",
    "Webhook",
    "Workers",
    "certificate_warning",
    "load_config",
]

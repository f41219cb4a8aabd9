"""Asterisk 22 with ``Answer`` and ``Transfer`` in its dialplan, on the configuration of the interop tests."""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.units.base import Unit

HERE = Path(__file__).resolve().parents[2] / "tests" / "interop" / "asterisk"
PEERS_DIR = Path(os.environ.get("PEERS_DIR", "/var/cache/cxmld-peers"))


class Asterisk(Unit):
    """The PBX does the transfer by itself; nobody is asked."""

    name = "Asterisk"

    @classmethod
    def missing(cls) -> str:
        """It needs root, and the peers installed."""
        if os.geteuid() != 0:
            return "Asterisk lives in a chroot: needs root"
        return "" if (PEERS_DIR / "asterisk" / ".cxmld-installed").exists() else "no Asterisk: run make peers"

    def command(self) -> Sequence[str]:
        """Run the instance of this bench."""
        ports = {
            "ASTERISK_SIP_PORT": self.port,
            "ASTERISK_TLS_PORT": self.port + 1,
            "ASTERISK_HTTP_PORT": self.port + 2,
            "ASTERISK_AMI_PORT": self.port + 3,
            "CXMLD_PORT": self.port + 4,
            "ASTERISK_RTP_START": 20000,
            "ASTERISK_RTP_END": 29999,
        }
        return ["env", *(f"{name}={value}" for name, value in ports.items()), str(HERE / "run")]

    def is_ready(self) -> bool:
        """The script says so."""
        return b"run: ready" in (self.folder / "output.txt").read_bytes()

    @property
    def pid(self) -> int:
        """The PBX itself, without its script."""
        instance = PEERS_DIR / "asterisk" / "var/lib/cxmld-peer" / str(self.port) / "run/asterisk.pid"
        return int(instance.read_text(encoding="ascii"))

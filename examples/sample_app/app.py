"""A voice application in one file, standard library only: it answers the documents and prints what it is told.

Pages: ``/voice`` transfers the call to ``TRANSFER_TO`` (default ``sip:answers@pbx``). ``/after-transfer`` receives the outcome; if the
target is busy and ``IF_BUSY`` names another one, the call goes on at ``/second-choice``, else it ends. ``/fallback`` is asked when a
request or a document failed. The address is ``APP_LISTEN`` (default ``127.0.0.1:8000``).
"""

import os
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape, quoteattr

TRANSFER_TO = os.environ.get("TRANSFER_TO", "sip:answers@pbx")
IF_BUSY = os.environ.get("IF_BUSY", "")
_MAX_BODY_BYTES = 64 * 1024
_HANGUP = "<Response><Hangup/></Response>"


def refer(target: str, action: str) -> str:
    """Return a document that transfers the call to *target* and reports the outcome to *action*."""
    return f"<Response><Refer action={quoteattr(action)}><Sip>{escape(target)}</Sip></Refer></Response>"


def document(path: str, parameters: Mapping[str, str], target: str = TRANSFER_TO, if_busy: str = IF_BUSY) -> str | None:
    """Return the document for a request to *path*, None when there is no such page."""
    match path:
        case "/voice":
            return refer(target, "/after-transfer")
        case "/after-transfer":
            tell_outcome(parameters)
            if parameters.get("ReferCallStatus") == "busy" and if_busy:
                return "<Response><Redirect>/second-choice</Redirect></Response>"
            return _HANGUP
        case "/second-choice":
            return refer(if_busy, "/after-second-choice")
        case "/after-second-choice":
            tell_outcome(parameters)
            return _HANGUP
        case "/fallback":
            print("error:", parameters.get("ErrorCode", "no code"), parameters.get("ErrorUrl", ""), flush=True)
            return _HANGUP
        case _:
            return None


def tell_outcome(parameters: Mapping[str, str]) -> None:
    """Print what became of a transfer."""
    names = ("ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode", "CxmldReferOutcome")
    print("transfer:", *(parameters.get(name, "-") for name in names), flush=True)


class Handler(BaseHTTPRequestHandler):
    """Takes GET with a query and POST with a form."""

    protocol_version = "HTTP/1.1"
    # Seconds: a connection that says nothing is closed.
    timeout = 30

    def do_GET(self) -> None:
        """Answer a request whose parameters are in the URL."""
        self._answer("")

    def do_POST(self) -> None:
        """Answer a request whose parameters are in the body."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self.send_error(413)
            return
        self._answer(self.rfile.read(int(length)).decode("utf-8", "replace"))

    def _answer(self, body: str) -> None:
        url = urlsplit(self.path)
        parameters = dict(parse_qsl(url.query) + parse_qsl(body))
        print(self.command, url.path, *(f"{name}={value!r}" for name, value in sorted(parameters.items())), flush=True)
        text = document(url.path, parameters)
        if text is None:
            self.send_error(404)
            return
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: the request was printed with its parameters."""


def main() -> None:
    """Serve until interrupted."""
    host, _, port = os.environ.get("APP_LISTEN", "127.0.0.1:8000").rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        print(f"listening on http://{host}:{port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()

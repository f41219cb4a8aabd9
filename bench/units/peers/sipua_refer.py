"""A referrer on the PyPI package ``sipua`` (not ours), run by its own interpreter:  sipua_refer.py PORT

It answers, sends REFER, waits for the final NOTIFY and hangs up: what a user of that package would write, and nothing else.
"""

import asyncio
import sys

import sipmessage
import uvloop

from sipua import Application, Dialog, TransportAddress, create_response

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"


class Transfer(Dialog):
    """One call that is transferred."""

    async def accept(self, request):
        """Answer the call."""
        response = self.create_response(request, 200)
        response.content_type = sipmessage.MediaType(mime_type="application/sdp")
        response.body = SDP
        await self.send_response(response)

    async def refer(self):
        """Ask the caller to call somebody else."""
        request = self.create_request("REFER")
        request.uri = self.remote_uri
        request.headers.add("Refer-To", "<sip:target@127.0.0.1:9>")
        response = await self.send_request(request)
        if response.code >= 300:
            await self.hang_up()

    async def hang_up(self):
        """End the call."""
        request = self.create_request("BYE")
        request.uri = self.remote_uri
        await self.send_request(request)
        self._dialog_layer._dialog_terminated(self)

    async def handle_request(self, request):
        """Take the reports on the transfer."""
        await self.send_response(create_response(request=request, code=200))
        if request.method == "NOTIFY" and "terminated" in (request.headers.get("Subscription-State") or ""):
            await self.hang_up()


class Referrer(Application):
    """Every call that comes is transferred."""

    def __init__(self):
        super().__init__()
        self.waiting = {}
        # The package does not tell its users of the ACK of a 200: it is seen on its way.
        self.to_transactions = self.transport_layer.request_handler
        self.transport_layer.request_handler = self.see

    async def see(self, request):
        """Refer when the ACK comes."""
        if request.method == "ACK" and (dialog := self.waiting.pop(request.call_id, None)) is not None:
            await dialog.refer()
        else:
            await self.to_transactions(request)

    async def handle_request(self, request):
        """Answer calls, and the question whether we are ready."""
        if request.method == "INVITE":
            dialog = Transfer.create_uas(dialog_layer=self.dialog_layer, request=request)
            self.waiting[request.call_id] = dialog
            await dialog.accept(request)
        else:
            code = 200 if request.method == "OPTIONS" else 481
            await self.transaction_layer.send_response(create_response(request=request, code=code))


async def main():
    """Serve until the process is ended."""
    await Referrer().listen(TransportAddress(protocol="udp", host="127.0.0.1", port=int(sys.argv[1])))
    await asyncio.get_running_loop().create_future()


uvloop.run(main())

"""A referrer on the PyPI package ``sippy``, run by its own interpreter:  sippy_refer.py PORT

It answers, sends REFER, waits for the final NOTIFY and hangs up, on that package's transactions and messages: its user agent knows no
NOTIFY.
"""

import sys

from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipAddress import SipAddress
from sippy.SipConf import SipConf
from sippy.SipContact import SipContact
from sippy.SipFrom import SipFrom
from sippy.SipHeader import SipHeader
from sippy.SipReferTo import SipReferTo
from sippy.SipRequest import SipRequest
from sippy.SipTo import SipTo
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipURL import SipURL
from sippy.Udp_server import Udp_server_opts

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"


class Silent:
    """Logs nothing."""

    def write(self, *texts, **options):
        """Take a message and forget it."""


class Transfer:
    """One call that is transferred."""

    def __init__(self, referrer, request):
        self.referrer = referrer
        self.call_id = request.getHFBody("call-id")
        self.target = request.getHFBody("contact").getUrl().getCopy()
        self.target.transport = "udp"  # the package knows no capital letters here
        self.remote = request.getHFBody("from").address.getCopy()
        self.cseq = 1
        self.local = None

    def answer(self, request, transaction):
        """Answer the call and wait for the ACK."""
        manager = self.referrer.manager
        manager.sendResponse(request.genResponse(100, "Trying"), transaction)
        response = request.genResponse(200, "OK", body=MsgBody(SDP))
        response.appendHeader(SipHeader(body=SipContact(address=SipAddress(url=self.referrer.url.getCopy()))))
        response.getHFBody("to").genTag()
        self.local = response.getHFBody("to").address.getCopy()
        manager.sendResponse(response, transaction, ack_cb=self.refer)

    def refer(self, _ack):
        """Ask the caller to call somebody else."""
        request = self.request("REFER")
        refer_to = SipReferTo(address=SipAddress(url=SipURL("sip:target@127.0.0.1:9")))
        request.appendHeader(SipHeader(body=refer_to))
        self.referrer.manager.newTransaction(request, self.referred)

    def referred(self, response):
        """Hang up when the transfer is refused."""
        if response.getSCode()[0] >= 300:
            self.hang_up()

    def hang_up(self):
        """End the call."""
        self.referrer.calls.pop(str(self.call_id), None)
        self.referrer.manager.newTransaction(self.request("BYE"))

    def request(self, method):
        """Make a request in the dialog."""
        contact = SipContact(address=SipAddress(url=self.referrer.url.getCopy()))
        made = SipRequest(
            method=method,
            ruri=self.target.getCopy(),
            to=SipTo(address=self.remote.getCopy()),
            fr0m=SipFrom(address=self.local.getCopy()),
            cseq=self.cseq,
            callid=self.call_id.getCopy(),
            contact=contact,
        )
        self.cseq += 1
        return made


class Referrer:
    """Every call that comes is transferred."""

    def __init__(self, port):
        SipConf.my_address, SipConf.my_port = "127.0.0.1", port
        self.url = SipURL(f"sip:bench@127.0.0.1:{port}")
        self.calls = {}
        settings = {"_sip_address": "127.0.0.1", "_sip_port": port, "_sip_logger": Silent()}
        Udp_server_opts.nworkers = 1  # several threads send a 200 before its 100
        self.manager = SipTransactionManager(settings, self.received)

    def received(self, request, transaction):
        """Do what the request wants."""
        method, call_id = request.getMethod(), str(request.getHFBody("call-id"))
        if method == "INVITE":
            self.calls[call_id] = call = Transfer(self, request)
            call.answer(request, transaction)
            return None
        if method == "OPTIONS":
            return request.genResponse(200, "OK"), None, None
        call = self.calls.get(call_id)
        if call is None:
            return request.genResponse(481, "Call/Transaction Does Not Exist"), None, None
        self.manager.sendResponse(request.genResponse(200, "OK"), transaction)
        if method == "NOTIFY" and "terminated" in str(request.getHFBody("subscription-state")):
            call.hang_up()
        return None


Referrer(int(sys.argv[1]))
ED2.loop()

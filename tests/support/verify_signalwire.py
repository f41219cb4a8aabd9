"""Runs the request validator of the PyPI package ``signalwire``, which needs its own environment: it pins an old ``twilio``.

Reads ``[{"key", "url", "params", "signature"}, …]`` as JSON from standard input and writes a list of booleans.
"""

import json
import sys

from signalwire.request_validator import RequestValidator

json.dump([RequestValidator(r["key"]).validate(r["url"], r["params"], r["signature"]) for r in json.load(sys.stdin)], sys.stdout)

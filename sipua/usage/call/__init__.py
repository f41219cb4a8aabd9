"""Calls: the INVITE usage, its media and its transfers (RFC 3261 §12 to §15, RFC 3515)."""

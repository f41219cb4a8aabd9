"""Dialogs: their state, and the way of requests between dialogs and usages (RFC 3261 §12, RFC 5057)."""

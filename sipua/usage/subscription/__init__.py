"""Subscriptions, and REFER as one of them (RFC 6665, RFC 3515)."""

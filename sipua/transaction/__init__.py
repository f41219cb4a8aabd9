"""Transactions (RFC 3261 §17, RFC 6026): pure machines, their keys, and the layer that runs them."""

"""What dialogs are used for: calls, subscriptions and registrations (RFC 5057 §3)."""

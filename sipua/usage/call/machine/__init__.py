"""Pure. The machines of a call: incoming and outgoing INVITE, collisions of re-INVITEs (docs/spec/invite.md)."""

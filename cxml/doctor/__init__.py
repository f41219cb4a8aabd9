"""``cxmld doctor``: asks a PBX what it does and says which of its settings to change (docs/spec/doctor.md).

``diagnose`` is pure: what was seen goes in, findings come out. ``examine`` makes the calls.
"""

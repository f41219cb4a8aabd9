"""Who gets in: peers, and the gate that every request outside a dialog passes before it costs anything."""

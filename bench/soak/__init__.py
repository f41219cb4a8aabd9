"""The soak: calls of every outcome for a long time against one daemon, which must report each of them truly and not grow."""

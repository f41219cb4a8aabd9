"""The HTTP side of the daemon: health and metrics."""

"""The daemon: its configuration, its parts put together, and its life from start to drain."""

"""Gives files to a target, one by one: ``python -m tests.fuzz.replay TARGET FILE...``. A defect ends it with its traceback."""

import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> None:
    """Replay the files of the command line."""
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.replay {{{','.join(TARGETS)}}} FILE...")
    for name in sys.argv[2:]:
        print(name, flush=True)
        TARGETS[sys.argv[1]](Path(name).read_bytes())


if __name__ == "__main__":
    main()

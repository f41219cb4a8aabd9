"""Takes inputs that run new lines into the corpus, smallest first: ``python -m tests.fuzz.keep TARGET FOLDER...``.

libFuzzer's own merging starts its program again and can't start a Python module.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import TARGETS
from tests.support.tree import PACKAGES, ROOT

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 1500
MAX_NEW = 150
_OURS = tuple(str(ROOT / name) for name in PACKAGES)

Step = tuple[str, int, int]
"""A file, a line and the line that ran before it in the same call."""


def steps_of(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Return the steps in our packages that *target* takes for *data*."""
    found: set[Step] = set()

    def enter(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(_OURS):
            return None
        before = 0

        def step(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                found.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return found


def main() -> None:
    """Add to the corpus of one target."""
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.keep {{{','.join(TARGETS)}}} FOLDER...")
    target, folder = TARGETS[sys.argv[1]], CORPUS / sys.argv[1]
    folder.mkdir(parents=True, exist_ok=True)
    known: set[Step] = set()
    for path in sorted(folder.iterdir()):
        known |= steps_of(target, path.read_bytes())
    found = [path.read_bytes() for name in sys.argv[2:] for path in Path(name).iterdir() if path.is_file()]
    new = 0
    for data in sorted((data for data in found if len(data) <= MAX_INPUT_BYTES), key=lambda data: (len(data), data)):
        steps = steps_of(target, data)
        if not steps <= known and new < MAX_NEW:
            known |= steps
            new += 1
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{new} of {len(found)} inputs run new lines; {len(list(folder.iterdir()))} in {folder.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Fuzzes one target: ``python -m tests.fuzz.run TARGET [options and folders of libFuzzer]``. Needs atheris; ``make fuzz`` has it."""

import sys

import atheris

with atheris.instrument_imports(include=["sipua", "cxml"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run libFuzzer until its time is over or a defect is found."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.run {{{','.join(TARGETS)}}} [options]")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Pure. What a machine asks its driver to do.

A machine returns effects from every input; effects that belong to one machine only are defined beside it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """Base of all effects."""


@dataclass(frozen=True, slots=True)
class Terminated(Effect):
    """The machine has reached its end: no timer runs and no further effect comes."""

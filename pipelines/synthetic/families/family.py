"""What a family of motions is, and which of them the motion prior may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.furniture import BlockPlan

Director = Callable[[Choreography, float], Sequence[BlockPlan]]
"""Writes the keys of a clip of the given length (seconds) and returns the furniture it needs."""


@dataclass(frozen=True, slots=True)
class MotionFamily:
    """One procedural kind of motion."""

    name: str
    direct: Director
    for_training: bool
    """True: the motion prior is trained on it. False: kept for the embedded recordings."""

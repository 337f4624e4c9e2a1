"""A captured motion without a body: named bones that turn against a zero pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True, eq=False)
class CapturedMotion:
    """Bones in the file's own world: y up; the zero pose faces +z, left at +x. Metres, radians."""

    names: tuple[str, ...]
    """Root first, parents before children."""
    parents: tuple[int, ...]
    """-1 for the root."""
    zero_bone_m: Float[np.ndarray, "bones 3"]
    """From each bone's start to its end in the zero pose; zeros for the root."""
    zero_start_m: Float[np.ndarray, "bones 3"]
    """From the start of a bone's parent to its own start in the zero pose; turns with the parent."""
    rotations: Float[np.ndarray, "frames bones 3 3"]
    """Of each bone against the zero pose, in the world (not against its parent)."""
    root_m: Float[np.ndarray, "frames 3"]
    frame_rate_hz: float

    def bone_ends(self) -> Float[np.ndarray, "frames bones 3"]:
        """Where each bone ends."""
        starts = np.zeros((len(self.root_m), len(self.names), 3))
        for bone, parent in enumerate(self.parents):
            if parent < 0:
                starts[:, bone] = self.root_m
            else:
                way = self.rotations[:, parent] @ self.zero_start_m[bone]
                starts[:, bone] = starts[:, parent] + way
        return starts + (self.rotations @ self.zero_bone_m[..., None])[..., 0]

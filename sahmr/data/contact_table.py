"""Which of the 6890 vertices can touch, and as which contact category: the table of each class count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from pipelines.bodies.downsample import read_mesh_pyramid
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.parts import CONTACT_PARTS, contact_labels_smplh
from pipelines.contact.labels import can_touch
from pipelines.errors import DataInvalid
from sahmr.data.coarse_body import NUM_COARSE, kept_vertices


def category_of_fine_vertices(
    files: BodyFiles, num_classes: int, left_out_parts: Sequence[str] = ()
) -> Int[np.ndarray, "6890"]:
    """Contact category of each vertex, 0 for those that never touch.

    Args:
        files: the body models.
        num_classes: with "none": 8 (seven parts), 2 (any of the parts) or 432 (one per coarse vertex, of
            which only those that the coarse body keeps can touch).
        left_out_parts: parts without a label, by name, whatever the categories.

    Raises:
        DataMissing: a body file is absent.
        DataInvalid: no known number of classes, or no such part.
    """
    parts = contact_labels_smplh(files)
    names = ("none", *CONTACT_PARTS)
    if num_classes == NUM_COARSE + 1:
        kept = kept_vertices(read_mesh_pyramid(files.downsampling))
        table = np.zeros(len(parts), np.int64)
        table[kept] = 1 + np.arange(NUM_COARSE)
        hidden = (parts > 0) & ~can_touch(parts, names, left_out_parts)
        return np.where(hidden, 0, table)
    parts = np.where(can_touch(parts, names, left_out_parts), parts, 0)
    if num_classes == len(names):
        return parts
    if num_classes == 2:
        return (parts > 0).astype(np.int64)
    raise DataInvalid(
        "no set of contact categories has this many classes",
        expected=f"{len(names)}, 2 (contact or not) or {NUM_COARSE + 1}",
        found=num_classes,
    )

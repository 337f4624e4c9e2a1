"""RICH's human-scene contact labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pipelines.errors import DataInvalid, DataMissing
from pipelines.safe_pickle import load_pickle

NUM_SMPL, NUM_SMPLX = 6890, 10475


@dataclass(frozen=True, slots=True, eq=False)
class ContactLabels:
    """One person in one frame."""

    contact: Bool[np.ndarray, "6890"]
    """On SMPL's topology, although the bodies are SMPL-X."""
    to_scan_m: Float[np.ndarray, "10475 3"] | None
    """From each SMPL-X vertex to the nearest point of the scan; None where the file has none."""


def read_contact(path: Path) -> ContactLabels:
    """Read human_scene_contact/<split>/<sequence>/<frame>/<subject>.pkl.

    Raises:
        DataMissing: no such file.
        DataInvalid: not such a file, or its labels are no 0 and 1 on 6890 vertices.
    """
    content = load_pickle(path)
    labels = content.get("contact") if isinstance(content, dict) else None
    values: Any = np.asarray(labels if labels is not None else [])
    if values.size != NUM_SMPL or not np.isin(values, (0, 1)).all():
        raise DataInvalid(
            "contact labels are wrong",
            where=path,
            expected=f"`contact`: {NUM_SMPL} values of 0 or 1 (SMPL's vertices)",
            found=f"shape {values.shape}",
        )
    vectors = content.get("s2m_dist_id")
    if vectors is not None and np.shape(vectors) != (NUM_SMPLX, 3):
        raise DataInvalid(
            "s2m_dist_id is wrong",
            where=path,
            expected=f"({NUM_SMPLX}, 3)",
            found=f"shape {np.shape(vectors)}",
        )
    to_scan_m = None if vectors is None else np.asarray(vectors, np.float64)
    return ContactLabels(values.reshape(-1).astype(bool), to_scan_m)


def read_all_contact(
    paths: Sequence[Path],
) -> tuple[Bool[np.ndarray, "frames 6890"], Bool[np.ndarray, " frames"], int]:
    """Labels of one person in many frames, which frames have them, and how many files are broken."""
    labels = np.zeros((len(paths), NUM_SMPL), dtype=bool)
    labelled = np.zeros(len(paths), dtype=bool)
    broken = 0
    for row, path in enumerate(paths):
        try:
            labels[row] = read_contact(path).contact
            labelled[row] = True
        except DataMissing:
            continue
        except DataInvalid:
            broken += 1
    return labels, labelled, broken

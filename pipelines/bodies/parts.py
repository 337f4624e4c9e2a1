"""Body parts that touch things: PROX's segments on SMPL-X, labels on SMPL+H."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pipelines.bodies.correspondence import NUM_SMPLH_VERTICES, read_transfer_matrix
from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid, DataMissing

CONTACT_PARTS = ("L_Leg", "R_Leg", "L_Hand", "R_Hand", "back", "gluteus", "thighs")
"""Contact classes 1..7 in SA-HMR's order (0 = none). "Leg" is the underside of the foot."""

PROX_CONTACT_PARTS = ("L_Leg", "R_Leg", "L_Hand", "R_Hand", "gluteus", "back", "thighs")
"""The same parts in the order of PROX's settings."""

HEAD_PART = "body_mask"
"""PROX's list of head and neck vertices, left out of its scan-to-body term."""


def read_segment(folder: Path, part: str) -> Int[np.ndarray, " ids"]:
    """Sorted, unique SMPL-X vertex ids of one `<part>.json`.

    Raises:
        DataMissing: no such file.
        DataInvalid: it lists no vertices.
    """
    path = folder / f"{part}.json"
    if not path.is_file():
        raise DataMissing(
            "body segment not found", where=path, fix="unpack PROX's body_segments.zip there"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ids = content if isinstance(content, list) else content["verts_ind"]  # body_mask is a bare list
        return np.unique(np.asarray(ids, np.int64))
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(
            "body segment is neither a list of ids nor a JSON object with verts_ind",
            where=path,
            found=str(error),
        ) from None


def read_contact_parts(folder: Path) -> dict[str, Int[np.ndarray, " ids"]]:
    """SMPL-X vertex ids of the seven contact parts, PROX's order."""
    return {part: read_segment(folder, part) for part in PROX_CONTACT_PARTS}


def head_vertices_smplx(folder: Path) -> Int[np.ndarray, " ids"]:
    """SMPL-X vertex ids of the head."""
    return read_segment(folder, HEAD_PART)


def contact_labels_smplh(files: BodyFiles, folder: Path | None = None) -> Int[np.ndarray, "6890"]:
    """Contact class of each SMPL+H vertex: 0 none, 1..7 as in `CONTACT_PARTS`.

    A vertex takes the class that holds most of its correspondence weight, if that is at least half.

    Args:
        files: the body models (transfer matrix).
        folder: where the segments lie, e.g. PROX's own; those beside the body models when None.
    """
    folder = folder if folder is not None else files.segments
    matrix = abs(read_transfer_matrix(files.transfer))
    total = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-12)
    shares = np.zeros((NUM_SMPLH_VERTICES, len(CONTACT_PARTS)))
    for column, part in enumerate(CONTACT_PARTS):
        member = np.zeros(matrix.shape[1])
        member[read_segment(folder, part)] = 1
        shares[:, column] = (matrix @ member) / total
    return np.where(shares.max(axis=1) >= 0.5, shares.argmax(axis=1) + 1, 0)


def head_vertices_smplh(files: BodyFiles) -> Int[np.ndarray, " ids"]:
    """SMPL+H vertex ids of the head, carried over from SMPL-X."""
    matrix = abs(read_transfer_matrix(files.transfer))
    member = np.zeros(matrix.shape[1])
    member[head_vertices_smplx(files.segments)] = 1
    total = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-12)
    return np.flatnonzero((matrix @ member) / total >= 0.5)

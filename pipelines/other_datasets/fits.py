"""SMPL-X pickles of the shape PROX gave them: MoSH, RICH and EgoBody store theirs alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.datasets.proxd import BODY_KEYS, PROXD_SHAPES, read_proxd
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import FRAME_OK, FrameStatus, Gender, SmplxParameters

logger = logging.getLogger(__name__)


def read_fits(
    paths: Sequence[Path], max_transl_m: float
) -> tuple[SmplxParameters, tuple[FrameStatus, ...]]:
    """One row per path, in the frame of the files, and why a row cannot be used.

    A file that is absent is `fit_missing`, one that cannot be read `fit_invalid`, one with NaN or a body
    farther from the origin than `max_transl_m` `fit_not_finite`. Such rows hold zeros.
    """
    rows = {key: np.zeros((len(paths), *PROXD_SHAPES[key]), np.float32) for key in BODY_KEYS}
    status: list[FrameStatus] = []
    for row, path in enumerate(paths):
        reason, values = _read_gated(path, max_transl_m)
        status.append(reason)
        for key, value in values.items():
            rows[key][row] = value
    return SmplxParameters(**rows), tuple(status)


def moved_fits(
    files: BodyFiles,
    gender: Gender,
    parameters: SmplxParameters,
    T_dst_from_src: Float[np.ndarray, "4 4"],
) -> SmplxParameters:
    """The same bodies in another frame; no body model is read when the frames are one."""
    if np.array_equal(T_dst_from_src, np.eye(4)):
        return parameters
    return move_parameters(files, gender, parameters, T_dst_from_src)


def _read_gated(
    path: Path, max_transl_m: float
) -> tuple[FrameStatus, dict[str, Float32[np.ndarray, "..."]]]:
    try:
        values = read_proxd(path)
    except DataMissing:
        return "fit_missing", {}
    except DataInvalid as error:
        logger.warning("%s: %s", path, error.what)
        return "fit_invalid", {}
    body = {key: values[key] for key in BODY_KEYS}
    finite = all(np.isfinite(value).all() for value in body.values())
    if not finite or float(np.linalg.norm(body["transl"])) > max_transl_m:
        return "fit_not_finite", {}
    return FRAME_OK, body

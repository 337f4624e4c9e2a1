"""PROXD fits: one pickle per frame, read as data only, written so that existing tools read them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Shaped

from pipelines.artifacts import write_bytes
from pipelines.datasets.layout import ProxLayout
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import FRAME_OK, FittedSequence, FrameStatus, Gender, SmplxParameters
from pipelines.safe_pickle import load_pickle

logger = logging.getLogger(__name__)

METHOD = "proxd"
PROXD_SHAPES: dict[str, tuple[int, ...]] = {
    "camera_rotation": (3, 3),
    "camera_translation": (3,),
    "betas": (10,),
    "global_orient": (3,),
    "transl": (3,),
    "left_hand_pose": (12,),
    "right_hand_pose": (12,),
    "jaw_pose": (3,),
    "leye_pose": (3,),
    "reye_pose": (3,),
    "expression": (10,),
    "pose_embedding": (32,),
    "body_pose": (63,),
}
"""Keys of a PROXD pickle in its own order; every array has one more leading axis of length 1."""

BODY_KEYS = tuple(field.name for field in fields(SmplxParameters))


def write_proxd(
    results_root: Path,
    recording: str,
    frame_name: str,
    parameters: Mapping[str, Shaped[np.ndarray, "..."]],
) -> Path:
    """Write `<results_root>/<recording>/results/<frame>/000.pkl`; returns its path.

    Args:
        results_root: e.g. `<PROX>/qualitative/PROXD`.
        recording: recording name.
        frame_name: frame name.
        parameters: SMPL-X parameters of one frame, camera frame, with or without the leading axis.
            `pose_embedding` and the two `camera_*` keys may be left out (zero and identity).

    Raises:
        DataInvalid: a parameter is absent, unknown, or of the wrong shape.
    """
    path = results_root / recording / "results" / frame_name / "000.pkl"
    unknown = sorted(set(parameters) - set(PROXD_SHAPES))
    if unknown:
        raise DataInvalid("unknown PROXD parameters", where=path, found=", ".join(unknown))
    content: dict[str, Float32[np.ndarray, "1 *shape"]] = {}
    for key, shape in PROXD_SHAPES.items():
        value = parameters.get(key, _default(key))
        if value is None or np.size(value) != int(np.prod(shape)):
            raise DataInvalid(
                f"PROXD parameter {key} is wrong",
                where=path,
                expected=f"shape {shape}",
                found="nothing" if value is None else f"shape {np.shape(value)}",
            )
        content[key] = np.ascontiguousarray(value, dtype=np.float32).reshape(1, *shape)
    encoded = pickle.dumps(content, protocol=2)
    # NumPy 2 names its module numpy._core, which the NumPy 1 of existing PROX tools does not know.
    write_bytes(path, encoded.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    return path


def write_proxd_recording(results_root: Path, fitted: FittedSequence) -> list[Path]:
    """Write one pickle for every valid frame; an invalid frame gets none, as in the released PROXD.

    Raises:
        DataInvalid: the fit holds SMPL+H instead of SMPL-X parameters.
    """
    if not isinstance(fitted.parameters, SmplxParameters):
        raise DataInvalid(
            "PROXD holds SMPL-X parameters",
            where=fitted.recording,
            found=type(fitted.parameters).__name__,
            fix="solve SMPL-X parameters first (pipelines.bodies.transfer)",
        )
    return [
        write_proxd(results_root, fitted.recording, name, frame_of(fitted.parameters, frame))
        for frame, name in enumerate(fitted.frame_names)
        if fitted.valid[frame]
    ]


def frame_of(parameters: SmplxParameters, frame: int) -> dict[str, Float[np.ndarray, "..."]]:
    """Parameters of one frame by name, ready for `write_proxd`."""
    return {key: getattr(parameters, key)[frame] for key in BODY_KEYS}


def read_proxd(path: Path) -> dict[str, Float32[np.ndarray, "..."]]:
    """Read one PROXD pickle; arrays without the leading axis, which may hold NaN as the fit left them.

    Raises:
        DataMissing: no such file.
        DataInvalid: holds more than data, lacks a body parameter, or one has the wrong shape.
    """
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataInvalid("PROXD pickle is not a mapping", where=path, found=type(content).__name__)
    result: dict[str, Float32[np.ndarray, "..."]] = {}
    for key, shape in PROXD_SHAPES.items():
        if key not in content and key not in BODY_KEYS:
            continue  # the embedding and the camera are not used
        value = content.get(key)
        if not isinstance(value, np.ndarray) or value.shape != (1, *shape) or value.dtype.kind != "f":
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value)
            raise DataInvalid(
                f"PROXD parameter {key} is wrong",
                where=path,
                expected=f"floating point of shape {(1, *shape)}",
                found="nothing" if value is None else found,
            )
        result[key] = value[0].astype(np.float32)
    return result


def read_released_fit(
    layout: ProxLayout,
    recording: str,
    frame_names: Sequence[str],
    *,
    gender: Gender,
    max_transl_m: float,
    T_world_from_camera: Float[np.ndarray, "4 4"],
    floor_camera: Float[np.ndarray, "4"],
) -> FittedSequence | None:
    """The released fits of a recording, one row per frame; None when it has none at all.

    Rows that cannot be used are those of `read_fits`.
    """
    if not layout.folder(recording, "fit").is_dir():
        return None
    parameters, status = read_fits(
        [layout.file(recording, "fit", name) for name in frame_names], max_transl_m
    )
    bad = sum(reason != FRAME_OK for reason in status)
    if bad:
        logger.info("%s: %d of %d released fits cannot be used", recording, bad, len(status))
    return FittedSequence(
        method=METHOD,
        recording=recording,
        gender=gender,
        frame_names=tuple(frame_names),
        parameters=parameters,
        status=status,
        window_id=np.arange(len(frame_names)),
        T_world_from_camera=T_world_from_camera,
        floor_camera=floor_camera,
    )


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


def _default(key: str) -> Shaped[np.ndarray, "..."] | None:
    if key == "camera_rotation":
        return np.eye(3)
    return None if key in BODY_KEYS else np.zeros(PROXD_SHAPES[key])

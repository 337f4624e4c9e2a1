"""The regenerated ground truth of one recording as a file: both models, both frames, every frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pipelines.artifacts import read_npz, write_npz
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.bodies.transfer import solve_smplx_from_smplh
from pipelines.errors import DataInvalid
from pipelines.records import FittedSequence, SmplhParameters, SmplxParameters

SCHEMA = "prox-humor-gt pseudo ground truth 1"


@dataclass(frozen=True, slots=True, eq=False)
class PseudoGroundTruth:
    """What is kept of a recording; one row per frame, none left out."""

    fitted: FittedSequence
    """SMPL+H, camera frame; with status, window ids, contacts and energies."""
    smplh_world: SmplhParameters
    smplx: SmplxParameters | None
    """The same bodies as SMPL-X, camera frame; None where not asked for."""
    smplx_world: SmplxParameters | None
    conversion_v2v_m: Float[np.ndarray, " frames"] | None
    """Mean distance of the SMPL-X bodies from the SMPL+H ones on the 6890 vertices."""
    provenance: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """Counts for the done-marker."""
        counts = {"frames": len(self.fitted.status), "valid": int(self.fitted.valid.sum())}
        if self.conversion_v2v_m is None or not self.fitted.valid.any():
            return counts
        error_mm = 1e3 * float(self.conversion_v2v_m[self.fitted.valid].mean())
        return {**counts, "smplx_conversion_v2v_mm": round(error_mm, 3)}


def build_result(
    fitted: FittedSequence, files: BodyFiles, provenance: Mapping[str, Any], *, with_smplx: bool
) -> PseudoGroundTruth:
    """Carry a fit to the world frame and, if asked, to SMPL-X."""
    if not isinstance(fitted.parameters, SmplhParameters):
        raise DataInvalid("the result is made from an SMPL+H fit", where=fitted.recording)
    T, gender = fitted.T_world_from_camera, fitted.gender
    smplh_world = move_parameters(files, gender, fitted.parameters, T)
    if not with_smplx:
        return PseudoGroundTruth(fitted, smplh_world, None, None, None, provenance)
    solution = solve_smplx_from_smplh(files, gender, fitted.parameters)
    smplx_world = move_parameters(files, gender, solution.parameters, T)
    return PseudoGroundTruth(
        fitted, smplh_world, solution.parameters, smplx_world, solution.v2v_m, provenance
    )


def write_result(path: Path, result: PseudoGroundTruth) -> Path:
    """Write one npz.

    Keys: `schema`, `recording`, `gender`, `frame_names`, `status` (empty = valid, else the reason),
    `valid`, `window_id`, `T_world_from_camera`, `floor_camera` (n, d with n . x = d), `contacts`
    (22 joints), `smplh_*` and `smplx_*` (camera frame), `smplh_world_*` and `smplx_world_*`,
    `smplx_conversion_v2v_m`, `energy_<term>`, `provenance` (JSON). Metres and radians.
    """
    fitted = result.fitted
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "recording": fitted.recording,
        "gender": fitted.gender,
        "frame_names": np.array(fitted.frame_names),
        "status": np.array(fitted.status),
        "valid": fitted.valid,
        "window_id": fitted.window_id,
        "T_world_from_camera": fitted.T_world_from_camera,
        "floor_camera": fitted.floor_camera,
        "provenance": json.dumps(result.provenance, sort_keys=True),
        **{f"energy_{term}": values for term, values in fitted.energies.items()},
    }
    if fitted.contacts is not None:
        arrays["contacts"] = fitted.contacts
    if result.conversion_v2v_m is not None:
        arrays["smplx_conversion_v2v_m"] = result.conversion_v2v_m
    for prefix, parameters in (
        ("smplh", fitted.parameters),
        ("smplh_world", result.smplh_world),
        ("smplx", result.smplx),
        ("smplx_world", result.smplx_world),
    ):
        if parameters is not None:
            arrays.update(_flatten(prefix, parameters))
    write_npz(path, arrays)
    return path


def read_result(path: Path) -> dict[str, Any]:
    """The arrays of a result file by name.

    Raises:
        DataInvalid: not a result file of this schema.
    """
    arrays = read_npz(path)
    found = str(arrays.get("schema", "none"))
    if found != SCHEMA:
        raise DataInvalid("not a pseudo ground truth file", where=path, expected=SCHEMA, found=found)
    return arrays


def _flatten(prefix: str, parameters: SmplhParameters | SmplxParameters) -> dict[str, Any]:
    return {f"{prefix}_{f.name}": getattr(parameters, f.name) for f in fields(parameters)}

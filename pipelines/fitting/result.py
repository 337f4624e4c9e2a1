"""Fits as files: one npz per method and recording; equal fits give equal bytes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid
from pipelines.records import FittedSequence, FrameStatus, SmplhParameters, SmplxParameters

SCHEMA = "prox-humor-gt fit 1"
_PARAMETERS = "parameters_"
_ENERGY = "energy_"
_MODELS: dict[str, type[SmplhParameters] | type[SmplxParameters]] = {
    "smplh": SmplhParameters,
    "smplx": SmplxParameters,
}


def write_fit(path: Path, fitted: FittedSequence) -> Path:
    """Write a fit; no time and no path goes into the file."""
    model = "smplh" if isinstance(fitted.parameters, SmplhParameters) else "smplx"
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "model": model,
        "method": fitted.method,
        "recording": fitted.recording,
        "gender": fitted.gender,
        "frame_names": np.array(fitted.frame_names, dtype=np.str_),
        "status": np.array(fitted.status, dtype=np.str_),
        "window_id": fitted.window_id,
        "T_world_from_camera": fitted.T_world_from_camera,
        "floor_camera": fitted.floor_camera,
    }
    for field in fields(fitted.parameters):
        arrays[_PARAMETERS + field.name] = getattr(fitted.parameters, field.name)
    if fitted.contacts is not None:
        arrays["contacts"] = fitted.contacts
    arrays |= {_ENERGY + name: np.asarray(fitted.energies[name]) for name in sorted(fitted.energies)}
    write_npz(path, arrays)
    return path


def read_fit(path: Path) -> FittedSequence:
    """Read a fit back.

    Raises:
        DataInvalid: not a fit of this schema, or parts of it are missing.
    """
    arrays = read_npz(path)
    found = str(arrays.get("schema", "no schema"))
    if found != SCHEMA:
        raise DataInvalid("not a fit file", where=path, expected=SCHEMA, found=found)
    try:
        return _as_record(arrays)
    except (KeyError, ValueError) as error:
        raise DataInvalid(
            f"fit file is incomplete: {error}", where=path, fix="delete the file and run again"
        ) from None


def _as_record(arrays: dict[str, Any]) -> FittedSequence:
    model = _MODELS[str(arrays["model"])]
    parameters = model(**{field.name: arrays[_PARAMETERS + field.name] for field in fields(model)})
    status = tuple(str(reason) for reason in arrays["status"])
    unknown = set(status) - set(get_args(FrameStatus))
    if unknown:
        raise ValueError(f"unknown frame status {sorted(unknown)}")
    return FittedSequence(
        method=str(arrays["method"]),
        recording=str(arrays["recording"]),
        gender=str(arrays["gender"]),  # type: ignore[arg-type]
        frame_names=tuple(str(name) for name in arrays["frame_names"]),
        parameters=parameters,
        status=status,  # type: ignore[arg-type]
        window_id=arrays["window_id"],
        T_world_from_camera=arrays["T_world_from_camera"],
        floor_camera=arrays["floor_camera"],
        contacts=arrays.get("contacts"),
        energies={
            name.removeprefix(_ENERGY): value
            for name, value in arrays.items()
            if name.startswith(_ENERGY)
        },
    )

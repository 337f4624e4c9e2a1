"""Bodies and scans packed for the 3D view: small integers, differences in time, gzip, base64."""

from __future__ import annotations

import base64
import gzip
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Int16, Shaped

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import BackendMissing
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points
from pipelines.metrics.frames import finite_frames
from pipelines.metrics.penetration import signed_distances
from pipelines.records import BodyTrack, SceneScan, SequenceObservations
from pipelines.report.meshes import CoarseBody, LightMesh
from pipelines.report.settings import ViewSettings

_MM: Final = 1000
_INT8_REACH: Final = 127
_INT16_REACH: Final = 32767
_GREY: Final = (0.8, 0.8, 0.8)


@dataclass(frozen=True, slots=True, eq=False)
class ViewBodies:
    """The shown frames of one recording, world frame."""

    frames: Int[np.ndarray, " shown"]
    """Rows of the recording."""
    faces: Int[np.ndarray, "faces 3"]
    positions: Mapping[str, Int16[np.ndarray, "shown coarse 3"]]
    """Method -> vertices in steps of `unit_m`."""
    distances_mm: Mapping[str, Int8[np.ndarray, "shown coarse"]]
    """Method -> signed distance to the scene, clipped to what a byte holds; smallest nearby."""
    valid: Mapping[str, Bool[np.ndarray, " shown"]]


def choose_frames(num_frames: int, settings: ViewSettings) -> Int[np.ndarray, " shown"]:
    """Every n-th frame, n larger for long recordings."""
    step = max(settings.frame_step, -(-num_frames // settings.max_frames))
    return np.arange(0, num_frames, step)


def view_bodies(
    tracks: Mapping[str, BodyTrack],
    observations: SequenceObservations,
    scene: SceneScan,
    body: CoarseBody,
    settings: ViewSettings,
) -> ViewBodies:
    """Bodies of the shown frames with their distance to the scene."""
    sdf, T = SdfGrid.from_scene(scene), observations.T_world_from_camera
    frames = choose_frames(len(observations.frame_names), settings)
    positions, distances, valid = {}, {}, {}
    for method, track in tracks.items():
        usable = (track.valid & finite_frames(track))[frames]
        stored = np.zeros((len(frames), len(body.picked), 3), np.int16)
        near = np.zeros((len(frames), len(body.picked)), np.int8)
        for row in np.flatnonzero(usable):
            vertices = track.vertices_camera[frames[row]]
            stored[row] = _quantise(
                transform_points(T, vertices[body.picked].astype(np.float64)), settings
            )
            d = signed_distances(vertices[None], T, sdf)[0]
            near[row] = np.clip(np.round(_MM * body.smallest(d)), -_INT8_REACH, _INT8_REACH)
        positions[method], distances[method], valid[method] = stored, near, usable
    return ViewBodies(frames, body.faces, positions, distances, valid)


def write_view(path: Path, view: ViewBodies) -> Path:
    """Write one npz."""
    arrays: dict[str, Any] = {"frames": view.frames, "faces": view.faces}
    for method in view.positions:
        arrays[f"{method}/positions"] = view.positions[method]
        arrays[f"{method}/distances_mm"] = view.distances_mm[method]
        arrays[f"{method}/valid"] = view.valid[method]
    write_npz(path, arrays)
    return path


def read_view(path: Path) -> ViewBodies:
    """Read what `write_view` wrote."""
    arrays = read_npz(path)
    methods = [name.partition("/")[0] for name in arrays if name.endswith("/positions")]
    return ViewBodies(
        arrays["frames"],
        arrays["faces"],
        {m: arrays[f"{m}/positions"] for m in methods},
        {m: arrays[f"{m}/distances_mm"] for m in methods},
        {m: arrays[f"{m}/valid"] for m in methods},
    )


def packed_bodies(
    view: ViewBodies, titles: Mapping[str, str], colors: Mapping[str, tuple[float, float, float]]
) -> dict[str, Any]:
    """One recording for the page; positions as differences to the shown frame before."""
    return {
        "frames": view.frames.tolist(),
        "faces": pack(view.faces.astype(np.uint32)),
        "methods": [
            {
                "id": method,
                "title": titles.get(method, method),
                "color": [round(part, 3) for part in colors.get(method, _GREY)],
                "positions": pack(np.diff(positions, axis=0, prepend=np.int16(0))),
                "distances": pack(view.distances_mm[method]),
                "valid": view.valid[method].astype(int).tolist(),
            }
            for method, positions in view.positions.items()
        ],
    }


def packed_scene(mesh: LightMesh, settings: ViewSettings) -> dict[str, str]:
    """One scan for the page."""
    colors = np.round(255 * np.clip(mesh.colors, 0, 1)).astype(np.uint8)
    return {
        "positions": pack(_quantise(mesh.vertices, settings)),
        "colors": pack(colors),
        "faces": pack(mesh.faces.astype(np.uint32)),
    }


def pack(array: Shaped[np.ndarray, "..."]) -> str:
    """Little-endian bytes, gzip, base64; equal arrays give equal text."""
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    return base64.b64encode(gzip.compress(little.tobytes(), 9, mtime=0)).decode()


def drawing_library() -> str:
    """The source of three.js, from the viewer that trimesh ships; global name THREE.

    Raises:
        BackendMissing: this trimesh ships another viewer.
    """
    archive = files("trimesh") / "resources" / "templates" / "viewer.zip"
    try:
        with archive.open("rb") as stream, zipfile.ZipFile(stream) as members:
            page = members.read("viewer.html.template").decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        page = ""
    source = page.partition("<script>")[2].partition("\n(function(){")[0]
    if "Three.js Authors" not in source or "WebGLRenderer" not in source or "</script" in source:
        raise BackendMissing(
            "three.js for the 3D view was not found in the installed trimesh",
            where=archive,
            fix="install the trimesh of constraints.txt, or set view.recordings=0",
        )
    return source


def _quantise(
    points: Float[np.ndarray, "points 3"], settings: ViewSettings
) -> Int16[np.ndarray, "points 3"]:
    steps = np.round(points / settings.unit_m)
    return np.clip(steps, -_INT16_REACH, _INT16_REACH).astype(np.int16)

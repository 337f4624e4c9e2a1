"""What a report keeps of a recording, as a file of the rerun viewer: scan, camera, image, bodies, curves.

Optional: `pip install -e ".[rerun]"`. Each recording becomes `<recording>.rrd`, opened by `rerun <file>`. Two
exports of one report hold the same, but not the same bytes: rerun adds the time of writing.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8

from pipelines.artifacts import atomic_path
from pipelines.errors import BackendMissing, PipelineError
from pipelines.metrics.overlay import METHOD_COLORS
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.report.measures import (
    DEPTH_MAX_CM,
    REPROJECTION_PX,
    TITLES,
    V2V_MM,
    FrameMeasures,
)
from pipelines.report.meshes import thin_out_scan
from pipelines.report.pictures import contact_colors
from pipelines.report.settings import ReportSettings
from pipelines.report.view import ViewBodies

_log = logging.getLogger(__name__)
SUFFIX: Final = ".rrd"
_CAMERA: Final = "world/camera"
_CURVES: Final = (V2V_MM, DEPTH_MAX_CM, REPROJECTION_PX)
"""Shown at first; the others are in the file, too."""
_IMAGE_WIDTH_PX: Final = 640
_MM: Final = 1000
_GREY: Final = (0.8, 0.8, 0.8)


def require_rerun() -> None:
    """Make sure that rerun is installed.

    Raises:
        BackendMissing: it is not.
    """
    if find_spec("rerun") is None:
        raise BackendMissing(
            "rerun=true needs a package that is not installed",
            found="no rerun",
            fix='pip install -e ".[rerun]" -c constraints.txt, or leave rerun=false',
        )


def write_rerun(
    path: Path, job: RecordingJob, measures: FrameMeasures, view: ViewBodies, settings: ReportSettings
) -> Path:
    """Write one recording, world frame, metres and seconds.

    Raises:
        BackendMissing: rerun is not installed.
    """
    require_rerun()
    import rerun

    with atomic_path(path) as unfinished:
        stream = rerun.RecordingStream("prox-humor-gt", recording_id=job.recording)
        stream.save(unfinished, default_blueprint=_layout(measures))
        stream.send_recording_name(job.recording)
        _log_room(stream, rerun, job, settings.view.scene_vertices)
        for row, frame in enumerate(view.frames.tolist()):
            stream.set_time("time", duration=float(measures.time_s[frame]))
            _log_bodies(stream, rerun, view, row, settings)
            image = _small_image(job, measures.frame_names[frame])
            if image is not None:
                stream.log(f"{_CAMERA}/image", rerun.Image(image).compress())
        _log_curves(stream, rerun, measures)
        stream.flush()
        stream.disconnect()
    _log.info("rerun: %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def _layout(measures: FrameMeasures) -> Any:
    """The scene, beside it what the camera saw and the curves of all methods."""
    from rerun import blueprint

    known = {name for rows in measures.methods.values() for name in rows}
    curves = [
        blueprint.TimeSeriesView(origin=f"curves/{name}", name=TITLES[name])
        for name in _CURVES
        if name in known
    ]
    camera = blueprint.Spatial2DView(
        origin=f"{_CAMERA}/image", contents=["$origin", "/world/bodies/**"], name="camera"
    )
    scene = blueprint.Spatial3DView(origin="world", name=measures.recording)
    beside = blueprint.Vertical(camera, *curves)
    columns = blueprint.Horizontal(scene, beside, column_shares=[3, 2])
    return blueprint.Blueprint(columns, collapse_panels=True)


def _log_room(stream: Any, rerun: Any, job: RecordingJob, scene_vertices: int) -> None:
    scan, observations = thin_out_scan(job.scene, scene_vertices), job.observations
    stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    colors = np.round(255 * np.clip(scan.colors, 0, 1)).astype(np.uint8)
    mesh = rerun.Mesh3D(
        vertex_positions=scan.vertices.astype(np.float32),
        triangle_indices=scan.faces.astype(np.uint32),
        vertex_colors=colors,
    )
    stream.log("world/scan", mesh, static=True)
    T_world_from_camera = observations.T_world_from_camera
    pose = rerun.Transform3D(
        translation=T_world_from_camera[:3, 3], mat3x3=np.ascontiguousarray(T_world_from_camera[:3, :3])
    )
    stream.log(_CAMERA, pose, static=True)
    width, height = observations.image_size_px
    scale = _IMAGE_WIDTH_PX / width
    K = observations.K * np.array([[scale], [scale], [1.0]])
    size = (_IMAGE_WIDTH_PX, round(scale * height))
    lens = rerun.Pinhole(image_from_camera=K, resolution=size, camera_xyz=rerun.ViewCoordinates.RDF)
    stream.log(f"{_CAMERA}/image", lens, static=True)


def _log_bodies(stream: Any, rerun: Any, view: ViewBodies, row: int, settings: ReportSettings) -> None:
    for method, positions in view.positions.items():
        entity = f"world/bodies/{method}"
        if not view.valid[method][row]:
            stream.log(entity, rerun.Clear(recursive=False))
            continue
        distances_m = view.distances_mm[method][row].astype(np.float64) / _MM
        base = METHOD_COLORS.get(method, _GREY)
        colors = contact_colors(distances_m, base, settings.measure.contact_m)
        mesh = rerun.Mesh3D(
            vertex_positions=positions[row].astype(np.float32) * np.float32(settings.view.unit_m),
            triangle_indices=view.faces.astype(np.uint32),
            vertex_colors=np.round(255 * colors).astype(np.uint8),
        )
        stream.log(entity, mesh)


def _log_curves(stream: Any, rerun: Any, measures: FrameMeasures) -> None:
    for method, rows in measures.methods.items():
        for name, values in rows.items():
            seen = np.flatnonzero(np.isfinite(values))
            if name not in TITLES or len(seen) == 0:
                continue
            times = rerun.TimeColumn("time", duration=measures.time_s[seen])
            columns = rerun.Scalars.columns(scalars=np.asarray(values, np.float64)[seen])
            stream.send_columns(f"curves/{name}/{method}", indexes=[times], columns=columns)


def _small_image(job: RecordingJob, frame_name: str) -> UInt8[np.ndarray, "rows columns 3"] | None:
    """The colour image; None where it cannot be read."""
    try:
        image = job.dataset.color_image(job.recording, frame_name)
    except PipelineError as error:
        _log.warning("%s: no colour image in the export: %s", frame_name, error.what)
        return None
    size = (_IMAGE_WIDTH_PX, round(_IMAGE_WIDTH_PX * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

"""`init`: from a folder of captured files to a tree to be fitted, and a page that says what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32

from pipelines.artifacts import write_bytes
from pipelines.capture.agreement import Background, static_background, view_scan
from pipelines.capture.floor import find_floor
from pipelines.capture.footage import write_frames
from pipelines.capture.frames import CapturedFrame, list_captured
from pipelines.capture.leaks import check_leaks
from pipelines.capture.moved import empty_depth, find_moved
from pipelines.capture.report import InitReport, Notebook, write_report
from pipelines.capture.rig import CaptureRig, read_rig, with_pose
from pipelines.capture.scan import Scan, read_scan, report_scan, turned_to, without_dust
from pipelines.capture.sdf import build_grid
from pipelines.capture.settings import CaptureSettings
from pipelines.capture.stage import CaptureStage
from pipelines.capture.tree import (
    npy_bytes,
    tree_layout,
    write_common,
    write_config,
    write_floor,
    write_scene,
)
from pipelines.capture.verdicts import (
    agrees,
    check_edges,
    describe,
    draw_check,
    say_leaks,
    say_moved,
    say_scan,
)
from pipelines.geometry.meshes import RayCaster

logger = logging.getLogger(__name__)


def init_capture(settings: CaptureSettings, progress: bool = False) -> InitReport:
    """Check a capture and write it as a tree.

    Nothing is written but the page when depth, cameras, pose and scan do not agree: every later figure
    would be of another room.

    Raises:
        DataMissing, DataInvalid: a file is absent or cannot be understood.
    """
    frames = list_captured(settings)
    rig = read_rig(settings, frames)
    notebook = Notebook()
    describe(notebook, settings, frames, rig)
    scan = read_scan(settings.path(settings.scan), settings.scan_unit_m)
    background = static_background(rig, frames, settings.check, progress)
    title = f"Capture {settings.recording}"
    if not agrees(notebook, settings, scan, rig, background, frames):
        return write_report(notebook, settings.out, title, None)
    scan, dust = without_dust(scan, settings.min_part_m2)
    stage = _set_stage(notebook, scan, rig, background, dust)
    check_edges(notebook, stage, frames)
    layout = tree_layout(settings.out)
    write_common(layout, stage.rig, settings)
    write_floor(layout, settings.scene, stage.floor, stage.rig)
    seen = write_frames(notebook, layout, settings, stage, frames, progress)
    kept = _without_moved(notebook, settings, stage, seen, frames[0])
    logger.info("building a distance grid of %d nodes along each axis", settings.sdf_size)
    floor_plane = stage.floor.plane_world if settings.fill_floor else None
    grid = build_grid(kept, settings.sdf_size, settings.sdf_margin_m, floor_plane)
    write_scene(layout, settings.scene, kept, grid)
    caster = RayCaster(kept.vertices_world, kept.faces)
    view = view_scan(caster, stage.rig.depth, stage.rig.T_world_from_depth)
    leaks = check_leaks(grid, kept, stage.rig, background, view, stage.floor.plane_world)
    say_leaks(notebook, leaks, settings.check.leak_share)
    return write_report(notebook, settings.out, title, write_config(settings, stage.rig))


def _set_stage(
    notebook: Notebook, scan: Scan, rig: CaptureRig, background: Background, dust: int
) -> CaptureStage:
    """Turn the scan's faces to the room and its z up, and look at it through both cameras."""
    caster = RayCaster(scan.vertices_world, scan.faces)
    scan, inward, flipped = turned_to(scan, caster, rig.T_world_from_camera[:3, 3])
    floor = find_floor(scan, rig.T_world_from_camera)
    scan = scan.moved(floor.T_upright_from_scan)
    rig = with_pose(rig, floor.T_upright_from_scan @ rig.T_world_from_camera)
    say_scan(notebook, report_scan(scan, dust, inward, flipped), floor)
    caster = RayCaster(scan.vertices_world, scan.faces)
    depth_view = view_scan(caster, rig.depth, rig.T_world_from_depth)
    draw_check(notebook, scan, rig, background, depth_view, floor.plane_world)
    color_view = view_scan(caster, rig.color, rig.T_world_from_camera)
    return CaptureStage(rig, scan, floor, background, depth_view, color_view)


def _without_moved(
    notebook: Notebook,
    settings: CaptureSettings,
    stage: CaptureStage,
    seen: Sequence[tuple[Float32[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]],
    first: CapturedFrame,
) -> Scan:
    """The scan without what has moved, if so asked."""
    if settings.moved == "ignore":
        return stage.scan
    if len(seen) < settings.moved_parts.min_frames:
        notebook.say("note", f"too few frames to tell moved parts: {len(seen)} with depth")
        return stage.scan
    moved = find_moved(
        stage.scan,
        stage.rig.depth,
        stage.rig.T_world_from_depth,
        empty_depth(seen, settings.moved_parts),
        stage.depth_view.depth_m,
        stage.floor.plane_world,
        settings.moved_parts,
    )
    say_moved(notebook, settings, stage, moved, first)
    path = settings.out / "qualitative" / "moved" / f"{settings.scene}_faces.npy"
    write_bytes(path, npy_bytes(moved.faces))
    if settings.moved == "report" or not moved.faces.any():
        return stage.scan
    return stage.scan.keep(~moved.faces)

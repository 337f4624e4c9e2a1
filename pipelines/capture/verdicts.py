"""What the checks of a capture say, in words, numbers and pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipelines.capture import pictures
from pipelines.capture.agreement import Background, Reading, ScanView, check_agreement, view_scan
from pipelines.capture.floor import Floor
from pipelines.capture.frames import CapturedFrame
from pipelines.capture.leaks import LeakReport
from pipelines.capture.moved import MovedParts
from pipelines.capture.report import Notebook
from pipelines.capture.rig import CaptureRig
from pipelines.capture.scan import Scan, ScanReport
from pipelines.capture.settings import CaptureSettings
from pipelines.capture.stage import CaptureStage
from pipelines.capture.tree import png_bytes
from pipelines.geometry.meshes import RayCaster

_UNEVEN_FLOOR_M = 0.02
_TILTED_DEG = 10.0
_EDGE_GAIN = 0.03
_ERROR_FACTOR = 5


def describe(
    notebook: Notebook, settings: CaptureSettings, frames: Sequence[CapturedFrame], rig: CaptureRig
) -> None:
    """What was given."""
    counts = {
        "depth": sum(frame.depth is not None for frame in frames),
        "masks": sum(frame.mask is not None for frame in frames),
        "keypoints": sum(frame.keypoints is not None for frame in frames),
    }
    notebook.numbers["frames"] = f"{len(frames)} colour, " + ", ".join(
        f"{n} {k}" for k, n in counts.items()
    )
    notebook.numbers["cameras"] = "; ".join(rig.notes)
    baseline = np.linalg.norm(rig.depth.T_camera_from_rig[:3, 3])
    notebook.numbers["between the cameras"] = f"{baseline * 1000:.1f} mm"
    if counts["depth"] < len(frames):
        notebook.say("warning", f"{len(frames) - counts['depth']} colour images have no depth image")
    if settings.keypoints is None:
        notebook.say(
            "note", "no keypoints: fits have depth only", "run OpenPose (BODY_25) and give keypoints="
        )
    elif counts["keypoints"] < len(frames):
        notebook.say("warning", f"{len(frames) - counts['keypoints']} colour images have no keypoints")


def agrees(
    notebook: Notebook,
    settings: CaptureSettings,
    scan: Scan,
    rig: CaptureRig,
    background: Background,
    frames: Sequence[CapturedFrame],
) -> bool:
    """Whether depth, cameras, pose and scan agree; says what would make them."""
    caster = RayCaster(scan.vertices_world, scan.faces)
    agreement = check_agreement(caster, rig, background, settings)
    notebook.numbers["depth against scan"] = _reading_text(agreement.given)
    if agreement.ok:
        return True
    if agreement.mistake:
        best = agreement.best
        notebook.say(
            "error",
            f"depth, pose and scan disagree ({_reading_text(agreement.given)}); with "
            f"{' '.join(best.settings)} they would: {_reading_text(best)}",
            " ".join(best.settings),
        )
    else:
        notebook.say(
            "error",
            f"depth, pose and scan disagree ({_reading_text(agreement.given)}), and none of the usual "
            "mistakes explains it",
            "look at the pictures: is the scan of this room, was the camera moved, are the intrinsics "
            "those of the recorded mode?",
        )
    view = view_scan(caster, rig.depth, rig.T_world_from_depth)
    draw_check(notebook, scan, rig, background, view, None)
    color = view_scan(caster, rig.color, rig.T_world_from_camera)
    edges = pictures.scan_edges(color, scan.face_normals)
    notebook.draw(
        "edges",
        "The scan's edges (green) over a colour image: they should lie on the edges of the room.",
        png_bytes(pictures.draw_edges(rig.color_image(frames[0]), edges)),
    )
    return False


def _reading_text(reading: Reading) -> str:
    return (
        f"median |depth - scan| {reading.median_m * 1000:.0f} mm, {reading.agree:.0%} of the background "
        f"agree, scan in {reading.covered:.0%} of its directions"
    )


def say_scan(notebook: Notebook, report: ScanReport, floor: Floor) -> None:
    """The scan, its holes and its floor."""
    x, y, z = report.size_m
    notebook.numbers["scan"] = (
        f"{report.vertices} vertices, {report.faces} faces, {x:.2f} x {y:.2f} x {z:.2f} m"
    )
    notebook.numbers["holes"] = (
        f"{report.holes} rims of missing surface, the longest {report.largest_hole_m:.1f} m; "
        f"{report.dust_parts} loose parts left out"
    )
    normal = ", ".join(f"{value:.4f}" for value in floor.plane_world[:3])
    notebook.numbers["floor"] = (
        f"normal ({normal}), height {floor.plane_world[3]:.4f} m, residual {floor.residual_m * 1000:.1f} mm "
        f"over {floor.area_m2:.1f} m2; camera {floor.camera_height_m:.2f} m above it"
    )
    if report.flipped:
        notebook.say("warning", "the scan's faces pointed away from the room; all turned round")
    if not np.allclose(floor.T_upright_from_scan, np.eye(4)):
        notebook.say("note", f"the scan's up is {floor.up_axis}; scan and pose turned so that z is up")
    if floor.residual_m > _UNEVEN_FLOOR_M:
        notebook.say("warning", f"the floor is uneven: {floor.residual_m * 1000:.0f} mm from its plane")
    if floor.tilt_deg > _TILTED_DEG:
        notebook.say("warning", f"the floor is tilted by {floor.tilt_deg:.0f} degrees")


def draw_check(
    notebook: Notebook,
    scan: Scan,
    rig: CaptureRig,
    background: Background,
    view: ScanView,
    floor_world: Float[np.ndarray, "4"] | None,
) -> None:
    """Cameras in the scan, and measured against scanned depth."""
    graph = pictures.draw_frame_graph(
        scan, rig, background, floor_world, "world <- camera <- depth camera"
    )
    notebook.draw(
        "frames",
        "Cameras in the scan. Measured points (orange) should lie on the scan (grey); the thick line is a "
        "camera's up.",
        graph,
    )
    notebook.draw(
        "depth",
        "Background depth against the scan's. White: equal. Red: measured nearer, blue: farther, 20 cm for "
        "full colour. Grey: nothing scanned there. Black: nothing measured.",
        png_bytes(pictures.draw_depth_error(background, view)),
    )


def check_edges(notebook: Notebook, stage: CaptureStage, frames: Sequence[CapturedFrame]) -> None:
    """Whether the colour image shows the edges of the scan."""
    image = stage.rig.color_image(frames[0])
    edges = pictures.scan_edges(stage.color_view, stage.scan.face_normals)
    score = pictures.score_edges(image, edges)
    text = (
        f"{score.on_edges:.0%} of the scan's edges lie on image edges, {score.by_chance:.0%} by chance"
    )
    notebook.numbers["colour against scan"] = text
    notebook.draw(
        "edges",
        f"The scan's edges (green) over the first colour image: {text}.",
        png_bytes(pictures.draw_edges(image, edges)),
    )
    if score.on_edges < score.by_chance + _EDGE_GAIN:
        notebook.say(
            "warning",
            f"the colour image does not show the scan's edges: {text}",
            "check color_camera and depth_to_color; a dark or blurred first image also does this",
        )


def say_moved(
    notebook: Notebook,
    settings: CaptureSettings,
    stage: CaptureStage,
    moved: MovedParts,
    frame: CapturedFrame,
) -> None:
    """What of the scan is not there in the footage."""
    notebook.numbers["moved parts"] = (
        f"{moved.parts}, {moved.area_m2:.2f} m2 of scan; new before the scan: {moved.appeared_m2:.2f} m2 seen"
    )
    if moved.faces.any():
        done = (
            "taken out of the scene"
            if settings.moved == "remove"
            else "left in the scene (moved=report)"
        )
        notebook.say(
            "warning", f"{moved.area_m2:.2f} m2 of the scan are not there in the footage; {done}"
        )
        picture = pictures.draw_faces(stage.rig.color_image(frame), stage.color_view.face, moved.faces)
        text = "Scan that is not there in the footage (pink), over the first colour image."
        notebook.draw("moved", text, png_bytes(picture))
    if moved.appeared_m2 > settings.moved_parts.min_area_m2 * _ERROR_FACTOR:
        notebook.say(
            "warning",
            f"{moved.appeared_m2:.2f} m2 stand before the scan that were not scanned",
            "scan the room as it was filmed; fits know nothing of these things",
        )


def say_leaks(notebook: Notebook, leaks: LeakReport, limit: float) -> None:
    """Where the grid's sign is wrong."""
    notebook.numbers["sign of the grid"] = (
        f"wrong in {leaks.free_marked_solid:.1%} of free places, {leaks.solid_marked_free:.1%} of solid "
        f"ones, {leaks.leaks_below_floor:.1%} below the floor; {leaks.camera_m:.2f} m at the camera"
    )
    fix = "close large holes of the scan, or set fill_floor=true"
    for name, share in (
        ("free places are marked solid", leaks.free_marked_solid),
        ("solid places are marked free", leaks.solid_marked_free),
        ("places below the floor are marked free", leaks.leaks_below_floor),
    ):
        if share > _ERROR_FACTOR * limit:
            notebook.say("error", f"{share:.0%} of {name}", fix)
        elif share > limit:
            notebook.say("warning", f"{share:.0%} of {name}", fix)
    if leaks.camera_m < 0:
        notebook.say("error", "the camera lies inside a solid of the distance grid", fix)

"""The verb `moved-scenes`: rooms of a PROX tree without what stood elsewhere when a recording was filmed.

    make moved-scenes SET="prox.root=/data/prox"
    make pseudo-gt SET="prox.root=/data/prox prox.edited_scenes=outputs/moved-scenes"

A room was scanned once, and chairs were moved before and between its recordings. Whatever of the scan the
depth camera looks through is taken out of scan and distance grid, recording by recording; the tree itself is
never written to. `outputs/moved-scenes/`:

    scenes/<recording>.ply, sdf/<recording>.json, sdf/<recording>_sdf.npy     where something was moved
    faces/<recording>.npy                                   which faces of the tree's scan were left out
    pictures/<recording>.png                                the same over a colour image
    moved.json                                              what was found in each recording
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from tqdm import tqdm

from pipelines.artifacts import write_bytes, write_json
from pipelines.bodies.files import resolve_body_files
from pipelines.capture.agreement import view_scan
from pipelines.capture.cameras import Lens, undistortion_maps
from pipelines.capture.moved import EmptyDepth, MovedParts, empty_depth, find_moved
from pipelines.capture.pictures import draw_faces
from pipelines.capture.scan import Scan
from pipelines.capture.sdf import DistanceGrid, signed_distance
from pipelines.capture.settings import CheckSettings, MovedSettings
from pipelines.capture.tree import npy_bytes, png_bytes, write_scene
from pipelines.config import Settings
from pipelines.datasets.images import DEPTH_UNITS_PER_METRE, read_depth_mask
from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import invert, transform_plane
from pipelines.records import SceneScan

logger = logging.getLogger(__name__)

REPORT: Final = "moved.json"
_AROUND_M: Final = 0.5
"""So far around what was taken out the grid is made again; farther off it is only too small, which no term
of a fit looks at."""
_GROWN_M: Final = 0.02
"""A node whose distance grows by more had the moved part as its nearest surface."""


class MovedScenesSettings(Settings):
    """Which tree is looked at, and where the edited rooms go."""

    prox: ProxSettings = ProxSettings()
    moved_parts: MovedSettings = MovedSettings()
    check: CheckSettings = CheckSettings()
    """Depth and scan must agree before anything is taken out; see `good_share`."""
    body_models: Path | None = None
    out_dir: Path = Path("outputs/moved-scenes")


@dataclass(frozen=True, slots=True)
class MovedFinding:
    """What one recording shows of its room."""

    agree: float
    """Share of the empty room's depth that lies on the scan."""
    parts: int
    """Taken out."""
    area_m2: float
    appeared_m2: float
    """New before the scan; told only."""

    def __str__(self) -> str:
        return (
            f"{self.parts} parts of {self.area_m2:.2f} m2 were moved, {self.appeared_m2:.2f} m2 are new; "
            f"{self.agree:.0%} of the empty room's depth lies on the scan"
        )


def write_moved_scenes(settings: MovedScenesSettings, progress: bool = False) -> dict[str, MovedFinding]:
    """Look at every recording and write the rooms that differ from their scan.

    A recording that cannot be looked at is told in the log and left out.

    Raises:
        SettingsInvalid: no tree is given.
        DataMissing: not a PROX tree, or none of its recordings can be looked at.
    """
    if settings.prox.root is None:
        raise SettingsInvalid("the PROX folder is not given", fix="set prox.root=<folder>")
    reader = settings.prox.model_copy(update={"edited_scenes": None})
    data = ProxDataset(settings.prox.root, reader, resolve_body_files(settings.body_models))
    found = {}
    for recording in tqdm(data.recordings(), unit="recording", disable=not progress):
        try:
            found[recording] = finding = _look_at(settings, data, recording)
        except (DataMissing, DataInvalid) as error:
            logger.warning("%s is left out: %s", recording, error)
            continue
        logger.info("%s: %s", recording, finding)
    if not found:
        raise DataMissing(
            "no recording could be looked at", where=settings.prox.root, fix="see the warnings above"
        )
    write_json(settings.out_dir / REPORT, {name: asdict(finding) for name, finding in found.items()})
    return found


def grid_without(
    scene: SceneScan, faces: Bool[np.ndarray, " faces"], floor_world: Float[np.ndarray, "4"]
) -> Float32[np.ndarray, "nx ny nz"]:
    """The scene's grid without some of its faces.

    Only nodes whose nearest surface was taken out are made again, so the rest stays as released.

    Args:
        scene: room, with its own grid.
        faces: to leave out; at least one.
        floor_world: plane (n, d) that closes the floor below what is taken out.
    """
    kept = _scan_of(scene).keep(~faces)
    gone = scene.vertices_world[scene.faces[faces]].reshape(-1, 3)
    size = np.array(scene.sdf_m.shape)
    step = (scene.sdf_max_world - scene.sdf_min_world) / (size - 1)
    first = np.floor((gone.min(axis=0) - _AROUND_M - scene.sdf_min_world) / step).astype(int)
    last = np.ceil((gone.max(axis=0) + _AROUND_M - scene.sdf_min_world) / step).astype(int)
    first, last = np.clip(first, 0, size - 1), np.clip(last, 0, size - 1)
    box = tuple(slice(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))
    index = first + np.argwhere(np.ones(last - first + 1, dtype=bool))
    again = signed_distance(kept, scene.sdf_min_world + index * step, floor_world)
    grid = scene.sdf_m.copy()
    old = grid[box].reshape(-1)
    changed = np.abs(again) > np.abs(old) + _GROWN_M
    grid[box] = np.where(changed, again, old).reshape(grid[box].shape)
    return grid


def _look_at(settings: MovedScenesSettings, data: ProxDataset, recording: str) -> MovedFinding:
    """Find what was moved in one recording; write its room anew, or remove an older edit."""
    scene, color = data.scene(recording), data.calibration.color
    scan, T_world_from_camera = _scan_of(scene), data.camera_pose(recording)
    caster = RayCaster(scan.vertices_world, scan.faces)
    camera = _pinhole(data.calibration.infrared)
    T_world_from_depth = T_world_from_camera @ color.T_camera_from_rig @ invert(camera.T_camera_from_rig)
    empty = empty_depth(_depths(settings, data, recording), settings.moved_parts)
    scan_depth = view_scan(caster, camera, T_world_from_depth).depth_m
    floor_world = transform_plane(T_world_from_camera, data.floor_camera(recording))
    parts = find_moved(
        scan, camera, T_world_from_depth, empty, scan_depth, floor_world, settings.moved_parts
    )
    agree = _agreement(empty, scan_depth, settings.check.near_m)
    layout = ProxLayout(settings.out_dir)
    _remove_older(settings.out_dir, layout, recording)
    if agree < settings.check.good_share:
        logger.warning("%s: depth and scan disagree; nothing is taken out", recording)
        return MovedFinding(agree, 0, 0.0, parts.appeared_m2)
    if parts.faces.any():
        grid = grid_without(scene, parts.faces, floor_world)
        write_scene(
            layout,
            recording,
            scan.keep(~parts.faces),
            DistanceGrid(grid, scene.sdf_min_world, scene.sdf_max_world),
        )
        write_bytes(settings.out_dir / "faces" / f"{recording}.npy", npy_bytes(parts.faces))
        _draw(settings.out_dir, data, recording, caster, parts)
    return MovedFinding(agree, parts.parts, parts.area_m2, parts.appeared_m2)


def _depths(
    settings: MovedScenesSettings, data: ProxDataset, recording: str
) -> Iterator[tuple[Float32[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]]:
    """Depth without distortion, and the sensor's own person mask, of frames spread over a recording.

    Raises:
        DataMissing: no frame has both.
    """
    infrared, found = data.calibration.infrared, 0
    size = (infrared.width_px, infrared.height_px)
    maps = undistortion_maps(Lens(infrared.K, infrared.distortion, size))
    names = data.frame_names(recording)
    picked = np.unique(np.linspace(0, len(names) - 1, settings.moved_parts.sampled_frames).astype(int))
    for row in picked:
        try:
            raw = data.depth_image(recording, names[row])
            path = data.layout.file(recording, "mask_depth", names[row])
            person = read_depth_mask(path, data.settings.depth_size_px).astype(np.uint8)
        except (DataMissing, DataInvalid):
            continue  # the fits count defects of single frames; here others serve as well
        found += 1
        straight = cv2.remap(raw, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        masked = cv2.remap(person, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        yield (straight / np.float32(DEPTH_UNITS_PER_METRE)).astype(np.float32), masked.astype(bool)
    if not found:
        raise DataMissing(
            f"PROX recording {recording}: no frame has depth and the sensor's person mask",
            where=data.layout.folder(recording, "mask_depth"),
            fix="unpack Depth and BodyIndex of this recording",
        )


def _pinhole(camera: RigCamera) -> RigCamera:
    return replace(camera, distortion=np.zeros(5))


def _agreement(
    empty: EmptyDepth, scan_depth_m: Float[np.ndarray, "rows columns"], near_m: float
) -> float:
    both = (empty.depth_m > 0) & (scan_depth_m > 0)
    return float((np.abs(empty.depth_m - scan_depth_m)[both] < near_m).mean()) if both.any() else 0.0


def _scan_of(scene: SceneScan) -> Scan:
    return Scan(scene.vertices_world, scene.faces, scene.colors)


def _remove_older(out: Path, layout: ProxLayout, recording: str) -> None:
    own = [layout.scan(recording), *layout.sdf_files(recording)]
    for path in (*own, out / "faces" / f"{recording}.npy", out / "pictures" / f"{recording}.png"):
        path.unlink(missing_ok=True)


def _draw(out: Path, data: ProxDataset, recording: str, caster: RayCaster, parts: MovedParts) -> None:
    """What was taken out, over the first colour image that can be read."""
    view = view_scan(caster, data.calibration.color, data.camera_pose(recording))
    for name in data.frame_names(recording):
        try:
            image = data.color_image(recording, name)
        except (DataMissing, DataInvalid):
            continue
        picture = draw_faces(image, view.face, parts.faces)
        write_bytes(out / "pictures" / f"{recording}.png", png_bytes(picture))
        return

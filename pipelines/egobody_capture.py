"""The verb `egobody-capture`: one person of EgoBody before one Kinect, prepared to be fitted.

    make egobody-capture SET="egobody.root=/data/EgoBody keypoints=/data/openpose \
        recording=recording_20210907_S02_S01_01 body=0"
    make pseudo-gt CONFIG=outputs/egobody/<name>/pseudo-gt.yaml
    make marker-errors SET="run=outputs/pseudo-gt/<name> truth=outputs/egobody/<name>/egobody.npz"

A recording is a capture like anyone's own, so `init` does the work: lenses undone, scan turned z up, distance
grid built, who stands before the room. This module tells it where things lie, leaves out what does not belong
to the recording, and parts the two people: of each frame's OpenPose people the one is taken who is nearest to
EgoBody's body of the wanted person, and nearer to it than to the other's. EgoBody's bodies decide nothing
else; they are written beside the tree, to compare with.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from pipelines.artifacts import write_bytes, write_json, write_text
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.track import pose_track
from pipelines.capture.frames import frame_names
from pipelines.capture.keypoints import openpose_bytes, read_keypoints
from pipelines.capture.produce import init_capture
from pipelines.capture.report import InitReport
from pipelines.capture.settings import CaptureSettings
from pipelines.config import Settings, settings_yaml
from pipelines.datasets.images import DEPTH_UNITS_PER_METRE
from pipelines.errors import DataMissing, SettingsInvalid
from pipelines.fitting.result import write_fit
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.settings import EgobodySettings

logger = logging.getLogger(__name__)

TRUTH: Final = "egobody.npz"
_NAME: Final = re.compile(r"^recording_\d+_S(\d+)_S(\d+)_(\d+)$")
_MIN_CONFIDENCE: Final = 0.2
_FARTHEST: Final = 0.5
"""A person whose keypoints lie farther from the body than this share of its height is nobody of the two."""


class EgobodyCaptureSettings(Settings):
    """Which person before which Kinect, and where OpenPose's results lie."""

    egobody: EgobodySettings = EgobodySettings()
    recording: str
    body: Literal[0, 1] = 0
    view: str = "master"
    keypoints: Path
    """OpenPose's JSON on EgoBody's own images: `<keypoints>/<recording>/<view>/<frame>_keypoints.json`."""
    body_models: Path | None = None
    sdf_size: int = 256
    """Nodes along each axis of the distance grid."""
    out_dir: Path = Path("outputs/egobody")

    @property
    def name(self) -> str:
        """Of the tree, and so of the run that fits it."""
        return f"{self.recording}-body_idx_{self.body}-{self.view}"

    @property
    def folder(self) -> Path:
        """The tree; what `init` read of it lies in `staged`."""
        return (self.out_dir / self.name).resolve()


def prepare_egobody(settings: EgobodyCaptureSettings, progress: bool = False) -> InitReport:
    """Stage the recording and make a tree of it; see `pipelines.capture.produce.init_capture`.

    Raises:
        SettingsInvalid: EgoBody's folder is not given.
        DataMissing, DataInvalid: the data set, its calibration or OpenPose's files are absent or broken.
    """
    if settings.egobody.root is None:
        raise SettingsInvalid("EgoBody's folder is not given", fix="set egobody.root=<folder>")
    body_files = resolve_body_files(settings.body_models)
    data = EgobodyDataset(settings.egobody.root, body_files, settings.egobody)
    names = _frames_with_both_images(settings, data)
    staged = settings.folder / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    _link_images(settings, data, names, staged)
    _stage_keypoints(settings, data, names, staged)
    capture = _capture_settings(settings, data, staged)
    write_text(settings.folder / "capture.yaml", settings_yaml(capture))
    report = init_capture(capture, progress)
    _write_truth(settings, data, capture, names)
    return report


def own_person(
    people: Float[np.ndarray, "people 118 3"],
    own_px: Float[np.ndarray, "25 2"],
    other_px: Float[np.ndarray, "25 2"] | None,
) -> int | None:
    """Row of the wanted person; None where OpenPose did not see them.

    Args:
        people: all people OpenPose saw.
        own_px: joints of EgoBody's body of the wanted person.
        other_px: those of the other; None where it has none.
    """
    own = np.array([_distance_px(one, own_px) for one in people])
    limit = _FARTHEST * float(np.ptp(own_px[:, 1]))
    possible: Bool[np.ndarray, " people"] = own < limit
    if other_px is not None:
        possible &= own <= np.array([_distance_px(one, other_px) for one in people])
    return int(np.where(possible, own, np.inf).argmin()) if possible.any() else None


def _frames_with_both_images(settings: EgobodyCaptureSettings, data: EgobodyDataset) -> tuple[str, ...]:
    """Frames from start to end that have colour and depth: sub views lack hundreds."""
    color, depth = _image_folders(settings, data)
    names = tuple(
        name
        for name in data.frame_names(settings.recording)
        if (color / f"{name}.jpg").is_file() and (depth / f"{name}.png").is_file()
    )
    if not names:
        raise DataMissing(
            f"{settings.name}: no frame has colour and depth",
            where=color,
            expected=f"<frame>.jpg, and <frame>.png in {depth}",
            fix="unpack kinect_color and kinect_depth of this recording, or choose another view",
        )
    return names


def _image_folders(settings: EgobodyCaptureSettings, data: EgobodyDataset) -> tuple[Path, Path]:
    below = Path(settings.recording) / settings.view
    return data.root / "kinect_color" / below, data.root / "kinect_depth" / below


def _link_images(
    settings: EgobodyCaptureSettings, data: EgobodyDataset, names: Sequence[str], staged: Path
) -> None:
    color, depth = _image_folders(settings, data)
    for folder, source, suffix in (("color", color, ".jpg"), ("depth", depth, ".png")):
        (staged / folder).mkdir(parents=True)
        for name in names:
            link = staged / folder / f"{name}{suffix}"
            link.symlink_to((source / link.name).resolve())


def _stage_keypoints(
    settings: EgobodyCaptureSettings, data: EgobodyDataset, names: Sequence[str], staged: Path
) -> None:
    """Write each frame's own person and the others apart, as OpenPose saw them."""
    source = settings.keypoints / settings.recording / settings.view
    if not source.is_dir():
        raise DataMissing(
            "no OpenPose results for this view",
            where=source,
            expected="<frame>_keypoints.json of every image",
            fix="run OpenPose (BODY_25, hands, face, JSON) on kinect_color; EgoBody brings none",
        )
    own, other = (_projected(settings, data, body) for body in (settings.body, 1 - settings.body))
    if own is None:
        raise DataMissing(
            f"{settings.name}: EgoBody has no body of this person, so nobody can be told apart",
            where=data.fits(settings.recording, settings.body),
        )
    rows = {name: row for row, name in enumerate(data.frame_names(settings.recording))}
    seen = 0
    for name in names:
        path = source / f"{name}_keypoints.json"
        people = read_keypoints(path) if path.is_file() else np.zeros((0, 118, 3))
        row = rows[name]
        chosen = own_person(people, own[row], None if other is None else other[row])
        mine = np.arange(len(people)) == (-1 if chosen is None else chosen)
        seen += chosen is not None
        for folder, kept in (("keypoints", people[mine]), ("others", people[~mine])):
            write_bytes(staged / folder / path.name, openpose_bytes(kept))
    logger.info("%s: OpenPose saw this person in %d of %d frames", settings.name, seen, len(names))


def _projected(
    settings: EgobodyCaptureSettings, data: EgobodyDataset, body: int
) -> Float[np.ndarray, "frames 25 2"] | None:
    """BODY_25 of EgoBody's body in the image as stored, lens and all.

    A frame without a body takes that of the nearest frame with one; None when there is none at all.
    """
    fitted = data.bodies(settings.recording, body, settings.view)
    with_body = np.flatnonzero(fitted.valid)
    if len(with_body) == 0:
        return None
    camera = data.color_camera(settings.view)
    joints = pose_track(fitted, data.body_files).keypoint_joints_camera[with_body].astype(np.float64)
    pixels, _ = cv2.projectPoints(
        joints.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), camera.K, camera.distortion
    )
    frames = np.arange(len(fitted.status))
    nearest = np.abs(frames[:, None] - with_body[None]).argmin(axis=1)
    return np.asarray(pixels, np.float64).reshape(-1, 25, 2)[nearest]


def _distance_px(person: Float[np.ndarray, "118 3"], body_px: Float[np.ndarray, "25 2"]) -> float:
    seen: Bool[np.ndarray, "25"] = person[:25, 2] >= _MIN_CONFIDENCE
    if not seen.any():
        return float("inf")
    return float(np.median(np.linalg.norm(person[:25][seen, :2] - body_px[seen], axis=1)))


def _capture_settings(
    settings: EgobodyCaptureSettings, data: EgobodyDataset, staged: Path
) -> CaptureSettings:
    """What `init` must know; every path absolute, so that `init` can be run again on the file."""
    pose = data.camera_pose(settings.recording, settings.view)
    write_json(staged / "pose.json", pose.tolist())
    cameras = (data.root / "kinect_cam_params" / f"kinect_{settings.view}").resolve()
    scene, subject, take = _numbers(settings, data)
    return CaptureSettings(
        out=settings.folder,
        scene=scene,
        subject=subject,
        take=take,
        gender=data.gender(settings.recording, settings.body),
        color=staged / "color",
        depth=staged / "depth",
        keypoints=staged / "keypoints",
        others=staged / "others",
        frame_rate_hz=settings.egobody.frame_rate_hz,
        color_camera=cameras / "Color.json",
        depth_camera=cameras / "IR.json",
        depth_unit_m=1 / DEPTH_UNITS_PER_METRE,
        max_depth_m=settings.egobody.max_depth_m,
        scan=data.scan(settings.recording).resolve(),
        camera_pose=staged / "pose.json",
        sdf_size=settings.sdf_size,
        body_models=settings.body_models,
    )


def _numbers(settings: EgobodyCaptureSettings, data: EgobodyDataset) -> tuple[str, int, int]:
    """PROX's parts of a name: scene in letters and digits, a number for the person, the take.

    Which of the two S-numbers is whose is told nowhere, so the person's number is made of both and the body's
    index; a split by people must be made by EgoBody's own lists.
    """
    scene = re.sub(r"[^A-Za-z0-9]", "", data.info(settings.recording).scene)
    match = _NAME.match(settings.recording)
    if match is None:
        return scene, settings.body + 1, 1
    first, second, take = (int(number) for number in match.groups())
    return scene, (100 * first + second) * 10 + settings.body, take


def _write_truth(
    settings: EgobodyCaptureSettings,
    data: EgobodyDataset,
    capture: CaptureSettings,
    names: Sequence[str],
) -> None:
    """EgoBody's bodies under the tree's frame names; in the camera, which is the tree's too."""
    fitted = data.bodies(settings.recording, settings.body, settings.view)
    rows = [fitted.frame_names.index(name) for name in names]
    own, kept = fitted.parameters, {}
    for field in fields(own):
        kept[field.name] = getattr(own, field.name)[rows]
    chosen = replace(
        fitted,
        recording=capture.recording,
        frame_names=frame_names([Path(f"{name}.jpg") for name in names], capture.frame_rate_hz),
        parameters=type(own)(**kept),
        status=tuple(fitted.status[row] for row in rows),
        window_id=np.arange(len(rows)),
    )
    write_fit(settings.folder / TRUTH, chosen)

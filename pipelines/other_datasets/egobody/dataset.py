"""EgoBody recordings: the Kinect views and the bodies fitted to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, UInt8

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.images import decode_depth
from pipelines.datasets.proxd import read_fits
from pipelines.datasets.scenes import ScanMesh, read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, transform_plane
from pipelines.other_datasets.egobody.calibration import (
    KINECT_NUMBERS,
    MASTER,
    DepthCamera,
    KinectCamera,
    read_color_camera,
    read_depth_camera,
    read_transform,
)
from pipelines.other_datasets.egobody.info import RecordingInfo, read_info, read_splits
from pipelines.other_datasets.fits import moved_fits
from pipelines.other_datasets.floor import floor_world
from pipelines.other_datasets.images import read_color
from pipelines.other_datasets.records import CameraView, PersonRecording
from pipelines.other_datasets.settings import EgobodySettings
from pipelines.other_datasets.trees import require_tree
from pipelines.records import FRAME_OK, FittedSequence, FrameStatus, Gender
from pipelines.safe_pickle import load_pickle

METHOD: Final = "egobody"
_WORLD_UP: Final = np.array([0.0, 1.0, 0.0])
_FRAME = re.compile(r"^frame_(\d{5})$")


class EgobodyDataset:
    """An EgoBody tree, answered question by question; files are read when they are asked for.

    Quirks of the source, all dealt with here:
      - bodies are in the colour camera of the master Kinect, also when another view is asked for; a
        sub camera follows from kinect_<number>to12_color, the scan from kinect12_to_world;
      - the scan's frame has y up;
      - colour images are undistorted first (that is what the bodies match); nothing is mirrored;
      - the calibrations lie below `cal_trans`, or directly in the recording's folder;
      - views sub_3 and sub_4 exist for the recordings of 2022 only;
      - genders are strings "<index> <gender>"; of the two bodies the interactee is named, the camera
        wearer is the other; their fits lie in two folders per split;
      - sub views lack hundreds of colour frames, and files of frames outside start_frame..end_frame
        do not belong to the recording;
      - depth beyond 6 m is dropped.
    """

    def __init__(
        self, root: Path, body_files: BodyFiles, settings: EgobodySettings | None = None
    ) -> None:
        """Find the tree; reads nothing yet.

        Raises:
            DataMissing: not an EgoBody tree.
        """
        self.settings = settings or EgobodySettings()
        self.root = require_tree(root, "EgoBody", setting="egobody.root")
        self.body_files = body_files
        self._meshes = lru_cache(1)(read_scan_mesh)
        self._floors = lru_cache(None)(self._read_floor)

    @cached_property
    def _infos(self) -> dict[str, RecordingInfo]:
        return read_info(self.root / "data_info_release.csv")

    @cached_property
    def _splits(self) -> dict[str, str]:
        return read_splits(self.root / "data_splits.csv")

    def recordings(self, split: str | None = None) -> tuple[str, ...]:
        """Recordings of the tables that have calibrations here, of one split or of all, sorted."""
        here = [name for name in self._infos if (self.root / "calibrations" / name).is_dir()]
        return tuple(sorted(name for name in here if split in (None, self._splits.get(name))))

    def info(self, recording: str) -> RecordingInfo:
        """A recording's row of the table."""
        if recording not in self._infos:
            raise DataMissing(
                f"no EgoBody recording {recording}",
                where=self.root / "data_info_release.csv",
                found=f"{len(self._infos)} others",
            )
        return self._infos[recording]

    def split(self, recording: str) -> str:
        """train, val or test.

        Raises:
            DataMissing: data_splits.csv does not list it.
        """
        if recording not in self._splits:
            raise DataMissing(
                f"EgoBody recording {recording} is in no split", where=self.root / "data_splits.csv"
            )
        return self._splits[recording]

    def views(self, recording: str) -> tuple[str, ...]:
        """The Kinects that have images of a recording."""
        return tuple(view for view in KINECT_NUMBERS if self._images(recording, view).is_dir())

    def gender(self, recording: str, body: int) -> Gender:
        """Gender of body 0 or 1."""
        return self.info(recording).genders[body]

    def frame_names(self, recording: str) -> tuple[str, ...]:
        """Every frame from start_frame to end_frame, whether or not anything exists of it."""
        info = self.info(recording)
        return tuple(f"frame_{number:05d}" for number in range(info.start_frame, info.end_frame + 1))

    def color_camera(self, view: str) -> KinectCamera:
        """Colour camera of a Kinect; one calibration serves all recordings."""
        return read_color_camera(self._parameters(view) / "Color.json")

    def depth_camera(self, view: str) -> DepthCamera:
        """Depth camera of a Kinect."""
        return read_depth_camera(self._parameters(view) / "IR.json")

    def master_from_view(self, recording: str, view: str) -> Float[np.ndarray, "4 4"]:
        """`T_master_from_view`: colour camera of a view -> colour camera of the master."""
        if view == MASTER:
            return np.eye(4)
        name = f"kinect_{self._kinect(view)}to12_color.json"
        return read_transform(self.root / "calibrations" / recording, name)

    def camera_pose(self, recording: str, view: str) -> Float[np.ndarray, "4 4"]:
        """`T_world_from_camera` of a view; world is the scan's frame (y up)."""
        folder = self.root / "calibrations" / recording
        scene = self.info(recording).scene
        T_world_from_master = read_transform(folder, f"kinect12_to_world/{scene}.json")
        return T_world_from_master @ self.master_from_view(recording, view)

    def camera(self, recording: str, view: str) -> CameraView:
        """One Kinect's colour camera; its images come out undistorted."""
        camera = self.color_camera(view)
        return CameraView(
            name=view,
            K=camera.K,
            distortion=camera.distortion,
            undistorted=True,
            image_size_px=self.settings.color_size_px,
            T_world_from_camera=self.camera_pose(recording, view),
        )

    def scan(self, recording: str) -> Path:
        """The scan of a recording's room."""
        return self._scan(self.info(recording).scene)

    def fits(self, recording: str, body: int) -> Path:
        """The folder that holds a folder per frame of a body's fits."""
        role = self.info(recording).role(body)
        folder = self.root / f"smplx_{role}_{self.split(recording)}" / recording
        return folder / f"body_idx_{body}" / "results"

    def scene_mesh(self, recording: str) -> ScanMesh:
        """The scan, world frame (y up)."""
        return self._meshes(self.scan(recording))

    def floor_world(self, recording: str) -> Float[np.ndarray, "4"]:
        """Floor plane (n, d) in the world, n near +y; estimated from the scan."""
        return self._floors(self.info(recording).scene)

    def color_image(
        self, recording: str, view: str, frame_name: str
    ) -> UInt8[np.ndarray, "height width 3"]:
        """RGB, undistorted."""
        path = self._images(recording, view) / f"{frame_name}.jpg"
        return self.color_camera(view).undistorted(read_color(path, self.settings.color_size_px))

    def depth_points(self, recording: str, view: str, frame_name: str) -> Float[np.ndarray, "points 3"]:
        """Every depth return nearer than the limit, in the view's colour camera."""
        path = self.root / "kinect_depth" / recording / view / f"{frame_name}.png"
        raw = decode_depth(path, self.settings.depth_size_px)
        return self.depth_camera(view).points(raw, self.settings.max_depth_m)

    def bodies(self, recording: str, body: int, view: str = MASTER) -> FittedSequence:
        """EgoBody's bodies of one person, in one view's colour camera, one row per frame."""
        names, gender = self.frame_names(recording), self.gender(recording, body)
        paths = [self.fits(recording, body) / name / "000.pkl" for name in names]
        master, status = read_fits(paths, self.settings.max_transl_m)
        self._check_gender(recording, body, paths, status)
        T_view_from_master = invert(self.master_from_view(recording, view))
        pose = self.camera_pose(recording, view)
        return FittedSequence(
            method=METHOD,
            recording=f"{recording}/body_idx_{body}/{view}",
            gender=gender,
            frame_names=names,
            parameters=moved_fits(self.body_files, gender, master, T_view_from_master),
            status=status,
            window_id=np.arange(len(names)),
            T_world_from_camera=pose,
            floor_camera=transform_plane(invert(pose), self.floor_world(recording)),
        )

    def person(self, recording: str, body: int, view: str = MASTER) -> PersonRecording:
        """One person before one Kinect."""
        bodies = self.bodies(recording, body, view)
        has_image = self._has_image(recording, view, bodies.frame_names)
        missing, outside = int((~has_image).sum()), self._outside(recording, view)
        counts = {"image_missing": missing, "frames_outside_recording": outside}
        return PersonRecording(
            dataset="EgoBody",
            split=self.split(recording),
            scene=self.info(recording).scene,
            subject=f"{recording.removeprefix('recording_')}/{body}",
            view=self.camera(recording, view),
            world_up=_WORLD_UP,
            frame_rate_hz=self.settings.frame_rate_hz,
            bodies=bodies,
            has_image=has_image,
            skipped={reason: count for reason, count in counts.items() if count},
        )

    def _check_gender(
        self, recording: str, body: int, paths: Sequence[Path], status: Sequence[FrameStatus]
    ) -> None:
        """The first usable fit must be of the table's gender; a swapped body index shows here."""
        first = next((p for p, reason in zip(paths, status, strict=True) if reason == FRAME_OK), None)
        content: Any = load_pickle(first) if first is not None else {}
        stored = str(content.get("gender", self.gender(recording, body)))
        if stored != self.gender(recording, body):
            raise DataInvalid(
                f"EgoBody recording {recording}: body {body} has two genders",
                where=first,
                expected=f"{self.gender(recording, body)}, by data_info_release.csv",
                found=f"{stored} in the fit",
            )

    def _has_image(self, recording: str, view: str, names: Sequence[str]) -> Bool[np.ndarray, " frames"]:
        folder = self._images(recording, view)
        return np.array([(folder / f"{name}.jpg").is_file() for name in names], dtype=bool)

    def _outside(self, recording: str, view: str) -> int:
        info, folder = self.info(recording), self._images(recording, view)
        found = [_FRAME.match(path.stem) for path in folder.iterdir()] if folder.is_dir() else []
        numbers = [int(match[1]) for match in found if match is not None]
        return sum(not info.start_frame <= number <= info.end_frame for number in numbers)

    def _read_floor(self, scene: str) -> Float[np.ndarray, "4"]:
        path = self._scan(scene)
        return floor_world(self._meshes(path), _WORLD_UP, source=path)

    def _scan(self, scene: str) -> Path:
        return self.root / "scene_mesh" / scene / f"{scene}.obj"

    def _images(self, recording: str, view: str) -> Path:
        return self.root / "kinect_color" / recording / view

    def _parameters(self, view: str) -> Path:
        self._kinect(view)
        return self.root / "kinect_cam_params" / f"kinect_{view}"

    def _kinect(self, view: str) -> int:
        if view not in KINECT_NUMBERS:
            raise DataMissing(
                f"EgoBody has no view {view}", expected=", ".join(KINECT_NUMBERS), where=self.root
            )
        return KINECT_NUMBERS[view]

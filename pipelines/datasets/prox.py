"""PROX recordings: the reader of the qualitative (and quantitative) tree."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8, UInt16
from tqdm import tqdm

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.calibration import Calibration, read_calibration, read_cam2world
from pipelines.datasets.floor import floor_in_camera
from pipelines.datasets.frames import FrameTable, list_frames
from pipelines.datasets.images import read_color, read_color_mask, read_depth
from pipelines.datasets.keypoints_evidence import decide_keypoints_frame, look_for_evidence
from pipelines.datasets.keypoints_frame import KeypointsFrameFinding
from pipelines.datasets.kinect import DepthRegistration
from pipelines.datasets.layout import ProxLayout, RecordingName, gender_of, read_genders
from pipelines.datasets.observations import FrameReader, count_color_defects
from pipelines.datasets.proxd import read_released_fit
from pipelines.datasets.scenes import read_scene
from pipelines.datasets.settings import ProxSettings
from pipelines.datasets.skeleton import read_skeletons
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import FittedSequence, Gender, SceneScan, SequenceObservations

if TYPE_CHECKING:
    from pipelines.datasets.doctor import DoctorReport

logger = logging.getLogger(__name__)

_TABLES_KEPT = 64


class ProxDataset:
    """A PROX tree, answered question by question; files are read when they are asked for.

    Quirks of the source, all dealt with here:
      - every image file is mirrored; what comes out is the true image, in which calibration, fits and
        scenes live;
      - keypoints may or may not be mirrored (`keypoints_frame`);
      - person masks are black on white;
      - a folder may hold several clips, each starting at frame 1; frames are sorted by whole name;
      - timestamps are uneven, and frames of any modality may be missing or broken;
      - genders are told by a list of subject numbers, not by the files;
      - the floor is neither at z = 0 nor exactly level.
    """

    def __init__(
        self, root: Path, settings: ProxSettings | None = None, body_files: BodyFiles | None = None
    ) -> None:
        """Find the tree; reads nothing yet.

        Args:
            root: the folder that holds `qualitative/`, or that folder itself.
            settings: how to read.
            body_files: body models; with them released fits are used to tell raw from flipped keypoints.

        Raises:
            DataMissing: not a PROX tree, or no folder of edited scenes where one is asked for.
        """
        self.settings = settings or ProxSettings()
        self.layout = ProxLayout.find(root, self.settings.split, self.settings.keypoints_folder)
        edited = self.settings.edited_scenes
        if edited is not None and not (edited / "moved.json").is_file():
            raise DataMissing(
                "no edited scenes",
                where=edited,
                expected="moved.json and, of recordings in which something was moved, scenes/ and sdf/",
                fix="run `make moved-scenes`, or leave prox.edited_scenes empty",
            )
        self._edited = None if edited is None else ProxLayout(edited)
        self.body_files = body_files
        self._tables = lru_cache(_TABLES_KEPT)(self._read_frames)
        self._scenes = lru_cache(1)(self._read_scene)
        self._floors = lru_cache(None)(self._read_floor)
        self._findings = lru_cache(None)(partial(look_for_evidence, self))

    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings the settings ask for, sorted.

        Raises:
            DataMissing: a name or pattern in the settings matches nothing.
        """
        folder = self.layout.base / "recordings"
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        names = [name for name in names if RecordingName.parse(name) is not None]
        patterns = self.settings.recordings or ("*",)
        idle = [p for p in patterns if p != "*" and not any(fnmatchcase(n, p) for n in names)]
        if idle:
            raise DataMissing(
                f"no PROX recording matches {', '.join(idle)}",
                where=folder,
                found=", ".join(names[:20]) + (", ..." if len(names) > 20 else ""),
                fix="correct prox.recordings",
            )
        return tuple(name for name in names if any(fnmatchcase(name, p) for p in patterns))

    @cached_property
    def calibration(self) -> Calibration:
        """Colour and infrared camera."""
        return read_calibration(self.layout, self.settings.color_size_px, self.settings.depth_size_px)

    @cached_property
    def registration(self) -> DepthRegistration:
        """Depth -> colour camera."""
        return DepthRegistration(self.calibration.infrared, self.calibration.color)

    @cached_property
    def _genders(self) -> dict[str, Gender]:
        stored = read_genders(self.settings.genders_file) if self.settings.genders_file else {}
        return {**stored, **self.settings.genders}

    def gender(self, recording: str) -> Gender:
        """Gender of a recording's subject: settings, genders file, else PROX's list of women."""
        return gender_of(recording, self._name(recording).subject, self._genders)

    def scene_name(self, recording: str) -> str:
        """Scene of a recording."""
        return self._name(recording).scene

    def frames(self, recording: str) -> FrameTable:
        """Every frame of a recording, before trimming."""
        return self._tables(recording)

    def frame_names(self, recording: str) -> tuple[str, ...]:
        """The frames that observations and fits have rows for."""
        return self.frames(recording).names[self._range(recording)]

    def camera_pose(self, recording: str) -> Float[np.ndarray, "4 4"]:
        """`T_world_from_camera` of the colour camera; the Kinect did not move."""
        return read_cam2world(self.layout, self.scene_name(recording))

    def floor_camera(self, recording: str) -> Float[np.ndarray, "4"]:
        """Floor plane in the colour camera (n, d), n pointing up."""
        return self._floors(self.scene_name(recording))

    def scene(self, recording: str) -> SceneScan:
        """Scan and SDF of a recording's room (also by the room's own name), edited where there is an edit."""
        if self._edited is not None and self._edited.scan(recording).is_file():
            return self._scenes(self._edited, recording)
        parsed = RecordingName.parse(recording)
        return self._scenes(self.layout, recording if parsed is None else parsed.scene)

    def color_image(self, recording: str, frame_name: str) -> UInt8[np.ndarray, "height width 3"]:
        """RGB, true image."""
        path = self.layout.file(recording, "color", frame_name)
        return read_color(path, self.settings.color_size_px)

    def depth_image(self, recording: str, frame_name: str) -> UInt16[np.ndarray, "rows columns"]:
        """Raw depth (1/8 mm), true image of the infrared camera."""
        path = self.layout.file(recording, "depth", frame_name)
        return read_depth(path, self.settings.depth_size_px)

    def person_mask(self, recording: str, frame_name: str) -> Bool[np.ndarray, "height width"]:
        """True where the colour image shows a person."""
        path = self.layout.file(recording, "mask_color", frame_name)
        return read_color_mask(path, self.settings.color_size_px)

    def skeletons(
        self, recording: str, frame_name: str
    ) -> tuple[Float[np.ndarray, "bodies 25 3"], Bool[np.ndarray, "bodies 25"]]:
        """Kinect's own skeletons (infrared camera frame) and which joints it tracked."""
        return read_skeletons(self.layout.file(recording, "skeleton", frame_name))

    def keypoints_frame(self, recording: str) -> KeypointsFrameFinding:
        """Which image OpenPose saw, and how we know.

        Raises:
            DataInvalid: nothing decides, or the evidence contradicts the settings.
        """
        return decide_keypoints_frame(self, recording, self._findings)

    def observations(self, recording: str, progress: bool = False) -> SequenceObservations:
        """Everything a fit may use of a recording; see `FrameReader` for the meaning of the statuses.

        Args:
            recording: recording name.
            progress: show a bar.

        Raises:
            DataMissing, DataInvalid: something every frame depends on (calibration, cam2world, floor,
                keypoints frame). Defects of single frames are statuses and counts instead.
        """
        table, rows = self.frames(recording), self._range(recording)
        finding = self.keypoints_frame(recording)
        reader = FrameReader(self.layout, recording, self.registration, finding.frame, self.settings)
        names = table.names[rows]
        shown = tqdm(names, desc=f"{recording}: reading", unit="frame", disable=not progress)
        frames = [reader.read(name) for name in shown]
        keypoints = np.stack([frame.keypoints for frame in frames])
        return SequenceObservations(
            recording=recording,
            scene=self.scene_name(recording),
            gender=self.gender(recording),
            frame_names=names,
            frame_rate_hz=self.settings.frame_rate_hz,
            timestamps_s=table.timestamps_s[rows],
            segment_id=table.segment_id[rows] - table.segment_id[rows][0],
            status=tuple(frame.status for frame in frames),
            person_seen=np.array([frame.person_seen for frame in frames]),
            keypoints_px=keypoints[..., :2],
            keypoints_confidence=keypoints[..., 2],
            points_camera=np.stack([frame.points_camera for frame in frames]),
            num_points=np.array([frame.num_points for frame in frames]),
            K=self.calibration.color.K,
            image_size_px=self.settings.color_size_px,
            T_world_from_camera=self.camera_pose(recording),
            floor_camera=self.floor_camera(recording),
            skipped=self._counts(recording, table, reader, finding),
        )

    def has_released_fit(self, recording: str) -> bool:
        """Whether the tree holds PROXD fits of a recording."""
        folder = self.layout.folder(recording, "fit")
        return folder.is_dir() and any(folder.glob("*/000.pkl"))

    def released_fit(self, recording: str) -> FittedSequence | None:
        """The PROXD fits of a recording, one row per frame of `frame_names`; None when it has none."""
        if not self.has_released_fit(recording):
            return None
        return read_released_fit(
            self.layout,
            recording,
            self.frame_names(recording),
            gender=self.gender(recording),
            max_transl_m=self.settings.max_transl_m,
            T_world_from_camera=self.camera_pose(recording),
            floor_camera=self.floor_camera(recording),
        )

    def body_segments(self) -> Path:
        """Folder of the contact parts (read by pipelines.bodies.parts).

        Raises:
            DataMissing: the tree has none.
        """
        folder = self.layout.segments()
        if not folder.is_dir():
            raise DataMissing(
                "body_segments not found", where=folder, fix="unpack PROX's body_segments.zip there"
            )
        return folder

    def check(self, full: bool = False) -> DoctorReport:
        """What is present, missing and broken."""
        from pipelines.datasets.doctor import check_tree  # the doctor is a user of this class

        return check_tree(self.layout.base, self.settings, self.body_files, full=full)

    def _name(self, recording: str) -> RecordingName:
        name = RecordingName.parse(recording)
        if name is None:
            raise DataInvalid(
                "not the name of a PROX recording", expected="<Scene>_<Subject>_<take>", found=recording
            )
        return name

    def _range(self, recording: str) -> slice:
        total, trim = len(self.frames(recording)), self.settings.trim_frames
        stop = total - trim
        if stop <= trim:
            raise DataInvalid(
                f"PROX recording {recording}: nothing left after trimming",
                expected=f"more than {2 * trim} frames",
                found=f"{total}",
                fix="lower prox.trim_frames",
            )
        if self.settings.max_frames is not None:
            stop = min(stop, trim + self.settings.max_frames)
        return slice(trim, stop)

    def _counts(
        self,
        recording: str,
        table: FrameTable,
        reader: FrameReader,
        finding: KeypointsFrameFinding,
    ) -> dict[str, int]:
        rows = self._range(recording)
        counts = {k: v for k, v in reader.skipped.items() if v} | count_color_defects(
            self.layout, recording, table, rows
        )
        trimmed = 2 * self.settings.trim_frames
        others = {
            "unrecognised_file_names": len(table.unrecognised),
            "frames_trimmed": trimmed,
            "frames_beyond_max": len(table) - trimmed - (rows.stop - rows.start),
            "keypoints_unmirrored": (rows.stop - rows.start) if finding.frame == "raw" else 0,
        }
        counts |= {reason: count for reason, count in others.items() if count}
        return dict(sorted(counts.items()))

    def _read_frames(self, recording: str) -> FrameTable:
        settings = self.settings
        table = list_frames(
            self.layout,
            recording,
            frame_rate_hz=settings.frame_rate_hz,
            gap_intervals=settings.gap_intervals,
        )
        if table.unrecognised:
            logger.warning("%s: no frame names: %s", recording, ", ".join(table.unrecognised[:5]))
        return table

    def _read_scene(self, layout: ProxLayout, scene: str) -> SceneScan:
        return read_scene(
            layout,
            scene,
            with_normals=self.settings.sdf_normals,
            mismatch_m=self.settings.sdf_mismatch_m,
        )

    def _read_floor(self, scene: str) -> Float[np.ndarray, "4"]:
        T_world_from_camera = read_cam2world(self.layout, scene)
        return floor_in_camera(self.layout, scene, T_world_from_camera, self.settings.floor)

"""RICH recordings: the reader of the tree as its own site distributes it."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.proxd import read_fits
from pipelines.datasets.scenes import ScanMesh, read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, transform_plane
from pipelines.other_datasets.fits import moved_fits
from pipelines.other_datasets.floor import floor_world
from pipelines.other_datasets.images import find_color, read_color
from pipelines.other_datasets.records import CameraView, PersonRecording
from pipelines.other_datasets.rich.calibration import read_camera, read_level_frame
from pipelines.other_datasets.rich.contact import ContactLabels, read_all_contact, read_contact
from pipelines.other_datasets.rich.gravity import world_up
from pipelines.other_datasets.rich.names import (
    SPLITS,
    Sequence,
    Split,
    gender_of,
    parse_sequence,
    read_meta,
)
from pipelines.other_datasets.settings import RichSettings
from pipelines.other_datasets.trees import require_tree
from pipelines.records import FittedSequence, FrameStatus, Gender, SmplxParameters

METHOD: Final = "rich"
ROTATED: Final = frozenset({("Pavallion", 3), ("Pavallion", 5)})
"""Cameras that lay on their side: their images are stored 3008 x 4112. The spelling is the data's."""
_VIEW = re.compile(r"^cam_(\d+)$")
_FRAME = re.compile(r"^\d+$")
_FITS_KEPT: Final = 2
"""One camera after the other asks for the same person."""


class RichDataset:
    """A RICH tree, answered question by question; files are read when they are asked for.

    Quirks of the source, all dealt with here:
      - the world is the frame of calibrated camera 0; it is tilted, and up follows from multicam2world;
      - a sequence's name may hold two subjects (`<Capture>_004_005_<action>`);
      - genders are told by a table of subject numbers, not by the files; meta tables must agree with it;
      - the scan of a sequence is told by meta/<split>.txt alone when its capture has several;
      - cameras 3 and 5 of Pavallion lay on their side; their images are upright in the file's own pixels,
        3008 x 4112, as their calibration has it;
      - the moving camera (cam_10) has images but no calibration, so it is no view;
      - images are png in two captures, bmp in the others, and jpg in a smaller release of all;
      - views differ from sequence to sequence, and a frame may lack any file;
      - contact labels are on SMPL's 6890 vertices although the bodies are SMPL-X.
    """

    def __init__(self, root: Path, body_files: BodyFiles, settings: RichSettings | None = None) -> None:
        """Find the tree; reads nothing but the meta tables.

        Raises:
            DataMissing: not a RICH tree.
            DataInvalid: a meta table is not understood.
        """
        self.settings = settings or RichSettings()
        self.root = require_tree(root, "RICH", setting="rich.root")
        self.body_files = body_files
        self._cameras = lru_cache(None)(read_camera)
        self._meshes = lru_cache(1)(read_scan_mesh)
        self._floors = lru_cache(None)(self._read_floor)
        self._fits = lru_cache(_FITS_KEPT)(self._read_fits)

    @cached_property
    def _meta(self) -> dict[str, Sequence]:
        tables = [self.root / "meta" / f"{split}.txt" for split in SPLITS]
        return {name: row for path in tables if path.is_file() for name, row in read_meta(path).items()}

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """Split of every sequence that has bodies here."""
        folders = [
            (path.name, split)
            for split in SPLITS
            if (self.root / "bodies" / split).is_dir()
            for path in (self.root / "bodies" / split).iterdir()
            if path.is_dir() and parse_sequence(path.name) is not None
        ]
        return dict(sorted(folders))

    def sequences(self, split: Split | None = None) -> tuple[str, ...]:
        """Names of the sequences that have bodies, of one split or of all, sorted."""
        return tuple(name for name, where in self._splits.items() if split in (None, where))

    def split(self, sequence: str) -> Split:
        """train, val or test, by the folder the bodies lie in."""
        if sequence not in self._splits:
            raise DataMissing(
                f"no RICH sequence {sequence}",
                where=self.root / "bodies",
                found=", ".join(self._splits) or "no sequence at all",
            )
        return self._splits[sequence]

    def info(self, sequence: str) -> Sequence:
        """Capture, people, scan and listed views: from the meta table, else from the name."""
        self.split(sequence)
        known = self._meta.get(sequence) or parse_sequence(sequence)
        assert known is not None, "only sequences are listed"
        return known

    def subjects(self, sequence: str) -> tuple[str, ...]:
        """Everyone in a sequence, three digits each."""
        return self.info(sequence).subjects

    def gender(self, sequence: str, subject: str) -> Gender:
        """Gender of a subject; see `gender_of`."""
        info = self.info(sequence)
        tabled = dict(zip(info.subjects, info.genders, strict=False))
        return gender_of(subject, tabled.get(subject), self.settings.genders)

    def views(self, sequence: str) -> tuple[str, ...]:
        """Calibrated cameras of a sequence: those its meta row lists, else those it has images of."""
        listed = self.info(sequence).views or self._imaged(sequence)
        return tuple(f"cam_{number:02d}" for number in listed if self._xml(sequence, number).is_file())

    def uncalibrated_views(self, sequence: str) -> tuple[str, ...]:
        """Cameras with images but no calibration: the moving one."""
        imaged = self._imaged(sequence)
        return tuple(f"cam_{n:02d}" for n in imaged if not self._xml(sequence, n).is_file())

    def camera(self, sequence: str, view: str) -> CameraView:
        """One calibrated camera.

        Raises:
            DataMissing: it has no calibration.
        """
        number = _number(view)
        if not self._xml(sequence, number).is_file():
            raise DataMissing(
                f"RICH sequence {sequence}: {view} has no calibration",
                where=self._xml(sequence, number),
                expected=", ".join(self.views(sequence)),
                fix="the moving camera was never calibrated; take another view",
            )
        camera = self._cameras(self._xml(sequence, number))
        width, height = self.settings.image_size_px
        rotated = (self.info(sequence).capture, number) in ROTATED
        return CameraView(
            name=view,
            K=camera.K,
            distortion=camera.distortion,
            undistorted=False,
            image_size_px=(height, width) if rotated else (width, height),
            T_world_from_camera=camera.T_world_from_camera,
        )

    def scan(self, sequence: str) -> Path:
        """The scan a sequence was captured in.

        Raises:
            DataMissing: it is absent, or the capture has several and no meta table tells which.
        """
        info = self.info(sequence)
        folder = self.root / "scan_calibration" / info.capture
        if info.scan is not None:
            return folder / f"{info.scan}.ply"
        scans = sorted(folder.glob("*camcoord.ply"))
        if len(scans) != 1:
            raise DataMissing(
                f"RICH sequence {sequence}: its scan is not known",
                where=folder,
                expected="one *camcoord.ply, or the sequence in meta/<split>.txt",
                found=", ".join(path.name for path in scans) or "no scan",
                fix="put RICH's meta tables into meta/ below rich.root",
            )
        return scans[0]

    def scene_name(self, sequence: str) -> str:
        """`<capture>_<scan>`; sequences in one scan share it."""
        scan = self.scan(sequence).stem
        head, mark, _ = scan.partition("camcoord")
        return f"{self.info(sequence).capture}_{head}{mark}"

    def scene_mesh(self, sequence: str) -> ScanMesh:
        """The scan, world frame."""
        return self._meshes(self.scan(sequence))

    def world_up(self, sequence: str) -> Float[np.ndarray, "3"]:
        """Unit vector against gravity in the world of a sequence's capture."""
        capture = self.info(sequence).capture
        path = self.root / "multicam2world" / f"{capture}_multicam2world.json"
        files = sorted((self.root / "scan_calibration" / capture / "calibration").glob("*.xml"))
        poses = [camera.T_world_from_camera for camera in map(self._cameras, files)]
        if not poses:
            raise DataMissing(f"RICH capture {capture} has no calibrated camera", where=path.parent)
        return world_up(read_level_frame(path), poses, source=path)

    def floor_world(self, sequence: str) -> Float[np.ndarray, "4"]:
        """Floor plane (n, d) in the world, n pointing up; estimated from the scan."""
        return self._floors(sequence)

    def frame_names(self, sequence: str) -> tuple[str, ...]:
        """Every frame that has a body of anybody or an image of any view, sorted."""
        split = self.split(sequence)
        bodies = (self.root / "bodies" / split / sequence).iterdir()
        names = {path.name for path in bodies if _FRAME.match(path.name)}
        for number in self._imaged(sequence):
            for path in self._images(sequence, number).iterdir():
                frame = path.stem.partition("_")[0]
                names |= {frame} if _FRAME.match(frame) else set()
        return tuple(sorted(names))

    def color_image(
        self, sequence: str, view: str, frame_name: str
    ) -> UInt8[np.ndarray, "height width 3"]:
        """RGB, as stored."""
        stem = self._image_stem(sequence, view, frame_name)
        path = find_color(stem)
        if path is None:
            raise DataMissing("image not found", where=stem, expected="a jpg, png or bmp file")
        return read_color(path, self.camera(sequence, view).image_size_px)

    def contact(self, sequence: str, subject: str, frame_name: str) -> ContactLabels:
        """RICH's own contact labels of one person in one frame."""
        return read_contact(self._person_file("human_scene_contact", sequence, subject, frame_name))

    def bodies(self, sequence: str, subject: str, view: str) -> FittedSequence:
        """RICH's bodies of one person, in one camera's frame, one row per frame."""
        self._check_subject(sequence, subject)
        names, camera = self.frame_names(sequence), self.camera(sequence, view)
        world, status = self._fits(sequence, subject)
        gender = self.gender(sequence, subject)
        T_camera_from_world = invert(camera.T_world_from_camera)
        return FittedSequence(
            method=METHOD,
            recording=f"{sequence}/{subject}/{view}",
            gender=gender,
            frame_names=names,
            parameters=moved_fits(self.body_files, gender, world, T_camera_from_world),
            status=status,
            window_id=np.arange(len(names)),
            T_world_from_camera=camera.T_world_from_camera,
            floor_camera=transform_plane(T_camera_from_world, self.floor_world(sequence)),
        )

    def person(self, sequence: str, subject: str, view: str) -> PersonRecording:
        """One person before one camera, with RICH's contact labels."""
        bodies = self.bodies(sequence, subject, view)
        contact, labelled, broken = read_all_contact(
            [
                self._person_file("human_scene_contact", sequence, subject, name)
                for name in bodies.frame_names
            ]
        )
        stems = [self._image_stem(sequence, view, name) for name in bodies.frame_names]
        return PersonRecording(
            dataset="RICH",
            split=self.split(sequence),
            scene=self.scene_name(sequence),
            subject=subject,
            view=self.camera(sequence, view),
            world_up=self.world_up(sequence),
            frame_rate_hz=self.settings.frame_rate_hz,
            bodies=bodies,
            has_image=np.array([find_color(stem) is not None for stem in stems], dtype=bool),
            contact=contact,
            has_contact=labelled,
            skipped={"contact_invalid": broken} if broken else {},
        )

    def _check_subject(self, sequence: str, subject: str) -> None:
        if subject not in self.subjects(sequence):
            raise DataMissing(
                f"RICH sequence {sequence} has no subject {subject}",
                expected=", ".join(self.subjects(sequence)),
            )

    def _read_fits(self, sequence: str, subject: str) -> tuple[SmplxParameters, tuple[FrameStatus, ...]]:
        """World frame: the same for all cameras."""
        names = self.frame_names(sequence)
        paths = [self._person_file("bodies", sequence, subject, name) for name in names]
        world, status = read_fits(paths, self.settings.max_transl_m)
        return world, tuple(status)

    def _read_floor(self, sequence: str) -> Float[np.ndarray, "4"]:
        return floor_world(
            self.scene_mesh(sequence), self.world_up(sequence), source=self.scan(sequence)
        )

    def _imaged(self, sequence: str) -> tuple[int, ...]:
        folder = self.root / "images" / self.split(sequence) / sequence
        found = [_VIEW.match(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(int(match[1]) for match in found if match is not None))

    def _images(self, sequence: str, number: int) -> Path:
        return self.root / "images" / self.split(sequence) / sequence / f"cam_{number:02d}"

    def _image_stem(self, sequence: str, view: str, frame_name: str) -> Path:
        number = _number(view)
        return self._images(sequence, number) / f"{frame_name}_{number:02d}"

    def _xml(self, sequence: str, number: int) -> Path:
        capture = self.info(sequence).capture
        return self.root / "scan_calibration" / capture / "calibration" / f"{number:03d}.xml"

    def _person_file(self, kind: str, sequence: str, subject: str, frame_name: str) -> Path:
        folder = self.root / kind / self.split(sequence) / sequence
        return folder / frame_name / f"{subject}.pkl"


def _number(view: str) -> int:
    match = _VIEW.match(view)
    if match is None:
        raise DataInvalid("not a view of RICH", expected="cam_<number>", found=view)
    return int(match[1])

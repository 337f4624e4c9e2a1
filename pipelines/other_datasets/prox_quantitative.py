"""PROX quantitative: 180 static RGB-D frames of one man, with bodies from marker capture as truth."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.calibration import read_rigid
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.proxd import read_fits
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataMissing, SettingsInvalid
from pipelines.geometry.transforms import invert
from pipelines.other_datasets.fits import moved_fits
from pipelines.other_datasets.records import CameraView, PersonRecording
from pipelines.other_datasets.trees import require_tree
from pipelines.records import FittedSequence

METHOD: Final = "mosh"
FRAME_RATE_HZ: Final = 5.0
"""HuMoR's figure for this set; the files' own times are checked against the setting."""


class ProxQuantitative:
    """The quantitative half of PROX; observations and scene are read as in the qualitative half.

    Quirks of the source, all dealt with here:
      - a folder holds several clips (s001, s004, ...), each starting at frame 1: frames are sorted by
        their whole name, and `clips` tells them apart;
      - MoSH bodies are in the marker system's frame: world = vicon2scene, camera = its inverse pose;
        the whole body is moved, not `transl` alone;
      - MoSH pickles were written by Python 2;
      - files name no gender; the one subject, 03301, is a man, and the truth needs the male body;
      - frames are about 5 a second, not 30;
      - images are mirrored like all of PROX's; keypoints here are published, for the true image.
    """

    def __init__(self, root: Path, body_files: BodyFiles, settings: ProxSettings | None = None) -> None:
        """Find the tree; reads nothing yet.

        Args:
            root: the folder that holds `quantitative/`, or that folder itself.
            body_files: body models; moving a body to another frame needs its rest pelvis.
            settings: how to read; None = 5 frames a second.

        Raises:
            DataMissing: not a tree of PROX quantitative.
            SettingsInvalid: the settings are for the other half.
        """
        self.settings = settings or ProxSettings(split="quantitative", frame_rate_hz=FRAME_RATE_HZ)
        if self.settings.split != "quantitative":
            raise SettingsInvalid("settings of PROX qualitative", expected="split: quantitative")
        base = require_tree(root, "PROX quantitative", inside="quantitative", setting="prox.root")
        self.prox = ProxDataset(base, self.settings, body_files)
        self.body_files = body_files

    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings, sorted."""
        return self.prox.recordings()

    def clips(self, recording: str) -> dict[int, slice]:
        """Rows of each clip of a recording, by the number after its `s`."""
        wanted = set(self.prox.frame_names(recording))
        table = self.prox.frames(recording)
        numbers = [
            int(clip) for clip, name in zip(table.clip, table.names, strict=True) if name in wanted
        ]
        first = {clip: numbers.index(clip) for clip in sorted(set(numbers))}
        return {clip: slice(start, start + numbers.count(clip)) for clip, start in first.items()}

    @cached_property
    def vicon_pose(self) -> Float[np.ndarray, "4 4"]:
        """`T_world_from_vicon`: marker system -> scan.

        Raises:
            DataMissing: vicon2scene.json is absent.
            DataInvalid: it is no rigid transform.
        """
        return read_rigid(self.prox.layout.base / "vicon2scene.json", "vicon2scene")

    def truth(self, recording: str) -> FittedSequence:
        """MoSH bodies in the colour camera, one row per frame.

        Raises:
            DataMissing: there are no MoSH fits of this recording at all.
        """
        names = self.prox.frame_names(recording)
        paths = [self._mosh(recording) / name / "000.pkl" for name in names]
        vicon, status = read_fits(paths, self.settings.max_transl_m)
        if all(reason == "fit_missing" for reason in status):
            raise DataMissing(
                f"PROX recording {recording}: no MoSH fits",
                where=self._mosh(recording),
                expected=f"{names[0]}/000.pkl and the like",
                fix="unpack the quantitative set's fittings/mosh into the tree",
            )
        T_world_from_camera = self.prox.camera_pose(recording)
        gender = self.prox.gender(recording)
        T_camera_from_vicon = invert(T_world_from_camera) @ self.vicon_pose
        return FittedSequence(
            method=METHOD,
            recording=recording,
            gender=gender,
            frame_names=names,
            parameters=moved_fits(self.body_files, gender, vicon, T_camera_from_vicon),
            status=status,
            window_id=np.arange(len(names)),
            T_world_from_camera=T_world_from_camera,
            floor_camera=self.prox.floor_camera(recording),
        )

    def person(self, recording: str) -> PersonRecording:
        """Truth, camera and what images there are."""
        truth, camera = self.truth(recording), self.prox.calibration.color
        return PersonRecording(
            dataset="PROX",
            split="quantitative",
            scene=self.prox.scene_name(recording),
            subject=recording.split("_")[1],
            view=CameraView(
                name="color",
                K=camera.K,
                distortion=camera.distortion,
                undistorted=False,
                image_size_px=(camera.width_px, camera.height_px),
                T_world_from_camera=truth.T_world_from_camera,
            ),
            world_up=np.array([0.0, 0.0, 1.0]),
            frame_rate_hz=self.settings.frame_rate_hz,
            bodies=truth,
            has_image=self._has_image(recording),
        )

    def _has_image(self, recording: str) -> Bool[np.ndarray, " frames"]:
        folder = self.prox.layout.folder(recording, "color")
        return np.array(
            [(folder / f"{name}.jpg").is_file() for name in self.prox.frame_names(recording)], dtype=bool
        )

    def _mosh(self, recording: str) -> Path:
        return self.prox.layout.base / "fittings" / "mosh" / recording / "results"

"""Settings of the synthetic tree, and the named sets of recordings."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipelines.config import Settings
from pipelines.datasets.layout import FEMALE_SUBJECTS
from pipelines.records import Gender
from pipelines.synthetic.keypoints import DetectorSettings

PresetName = Literal["tiny", "first-run", "benchmark", "defects"]


class RecordingSpec(Settings):
    """One recording: who does what, where, for how long."""

    scene: str = Field(pattern=r"^[A-Za-z0-9]+$")
    """Every recording has a room of its own, so no two share a name."""
    subject: PositiveInt
    """Decides the gender as in PROX, and with the tree's seed the body shape."""
    take: PositiveInt = 1
    """Last part of the recording's name."""
    family: str
    """Motion family (motions.py)."""
    num_frames: int = Field(ge=4)
    """At 30 frames a second."""
    seed: int = Field(ge=0)
    """Of the motion, and with the tree's seed of everything else in this recording."""
    occluded_frames: float = Field(0.0, ge=0, le=1)
    """Wanted share of frames in which something hides more than a quarter of the joints."""
    clutter: int = Field(4, ge=0)
    """Pieces standing about, at most; they hide next to nothing of the person."""
    defects: bool = False
    """Plant every deliberate defect (defects.py) in this recording."""

    @property
    def name(self) -> str:
        """`<Scene>_<SubjectID>_<take>`."""
        return f"{self.scene}_{self.subject:05d}_{self.take:02d}"

    @property
    def gender(self) -> Gender:
        """By PROX's list of female subjects."""
        return "female" if self.subject in FEMALE_SUBJECTS else "male"


class SyntheticSettings(Settings):
    """A whole synthetic tree."""

    preset: str
    """Name of the set of recordings, for the record."""
    seed: int = Field(0, ge=0)
    """Of body shapes, rooms, clothes and noise."""
    recordings: tuple[RecordingSpec, ...] = Field(min_length=1)
    """What to write."""
    sdf_size: int = Field(256, ge=8)
    """Nodes along each axis of the signed distance grid; PROX has 256."""
    sdf_normals: bool = False
    """Also write `<Scene>_normals.npy`: 200 MB a scene at 256."""
    scan_edge_m: PositiveFloat = 0.025
    """Triangle size of the scanned mesh."""
    jpeg_quality: int = Field(90, ge=1, le=100)
    """Of the colour images."""
    keypoints_frame: Literal["raw", "flipped"] = "flipped"
    """Image the imitated OpenPose saw: the mirrored files, or the true images."""
    skeletons: bool = True
    """Write Kinect skeletons; nobody reads them, so they may be left out."""
    detector: DetectorSettings = DetectorSettings()
    """The imitated OpenPose."""

    @model_validator(mode="after")
    def _rooms_are_not_shared(self) -> SyntheticSettings:
        scenes = [spec.scene for spec in self.recordings]
        shared = sorted({scene for scene in scenes if scenes.count(scene) > 1})
        if shared:
            raise ValueError(f"recordings share a scene: {', '.join(shared)}")
        return self


def subject_betas(seed: int, subject: int) -> Float[np.ndarray, "10"]:
    """Body shape of a subject: standard normal, clipped at 2."""
    rng = np.random.default_rng([seed, subject, 7])
    return np.clip(rng.standard_normal(10), -2, 2)


def synthetic_preset(name: PresetName, seed: int = 0) -> SyntheticSettings:
    """A named set of recordings."""
    recordings = {
        "tiny": _tiny,
        "first-run": _first_run,
        "benchmark": _benchmark,
        "defects": _defects,
    }[name](seed)
    small = name in ("tiny", "defects")
    return SyntheticSettings(
        preset=name,
        seed=seed,
        recordings=recordings,
        sdf_size=48 if small else 256,
        scan_edge_m=0.06 if small else 0.025,
    )


def _tiny(seed: int) -> tuple[RecordingSpec, ...]:
    return (
        RecordingSpec(
            scene="TinyRoom", subject=34, family="sofa_rise", num_frames=12, seed=seed, clutter=1
        ),
    )


def _first_run(seed: int) -> tuple[RecordingSpec, ...]:
    return (
        RecordingSpec(scene="Lounge", subject=150, family="sofa_sit", num_frames=90, seed=seed + 1),
        RecordingSpec(scene="Hallway", subject=3403, family="walk", num_frames=90, seed=seed + 2),
    )


_BENCHMARK = (
    # scene, subject, family, frames, seed, wanted share of occluded frames
    ("Corridor", 34, "walk", 150, 11, 0.0),
    ("Parlour", 159, "sofa_visit", 240, 11, 0.35),
    ("Kitchen", 139, "shelf_reach", 150, 11, 0.0),
    ("Studio", 145, "pivot_turn", 150, 11, 0.5),
    ("Gallery", 162, "walk", 150, 12, 0.3),
    ("Cinema", 157, "sofa_rise", 150, 12, 0.0),
    ("Bedroom", 3452, "lie_down", 210, 12, 0.0),
    ("Arcade", 168, "walk", 150, 15, 0.0),
    ("Den", 3301, "sofa_sit", 150, 15, 0.5),
    ("Pantry", 3452, "shelf_reach", 150, 15, 0.8),
)
"""Rooms, subjects and motions that no first-run recording shows; three seeds; seven kinds of motion."""


def _benchmark(seed: int) -> tuple[RecordingSpec, ...]:
    return tuple(
        RecordingSpec(
            scene=scene,
            subject=subject,
            family=family,
            num_frames=num_frames,
            seed=seed + motion_seed,
            occluded_frames=occluded,
        )
        for scene, subject, family, num_frames, motion_seed, occluded in _BENCHMARK
    )


def _defects(seed: int) -> tuple[RecordingSpec, ...]:
    return (
        RecordingSpec(
            scene="BrokenRoom",
            subject=162,
            family="sofa_rise",
            num_frames=40,
            seed=seed + 5,
            clutter=1,
            defects=True,
        ),
    )

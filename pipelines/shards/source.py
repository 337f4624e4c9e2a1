"""What samples are made from: recordings with a body per frame, and the rooms they were made in.

A source of recordings is the fits of a run (`fit_source`), the generator's truth (`truth_source`) or the
people of another data set (`person_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32, UInt8

from pipelines.bodies.files import BodyFiles
from pipelines.errors import PipelineError
from pipelines.records import Gender, SmplhParameters
from pipelines.shards.schema import ShardKind, ShardScene
from pipelines.shards.splits import Membership

NUM_BETAS: Final = 16
"""Of the stored bodies; fits with fewer are filled up with zeros."""


class RecordingRefused(PipelineError):
    """A recording cannot be made as a whole; the others are."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceRecording:
    """One recording with a body for every frame, camera frame."""

    recording: str
    scene: str
    subject: str
    gender: Gender
    K: Float64[np.ndarray, "3 3"]
    image_size_px: tuple[int, int]
    """Width, height."""
    T_world_from_camera: Float64[np.ndarray, "4 4"]
    frame_names: tuple[str, ...]
    bodies: SmplhParameters
    """As they are stored: float32, 16 betas."""
    status: tuple[str, ...]
    """Why a frame has no body that can be used; empty if it has."""
    expected_error_mm: Float32[np.ndarray, " frames"]
    """NaN where no score was made."""
    weight: Float32[np.ndarray, " frames"]
    reject_reason: tuple[str, ...]
    image: Callable[[int], UInt8[np.ndarray, "height width 3"]]
    """The true RGB image of a frame, by its row.

    Raises DataMissing or DataInvalid where the image is lost or broken.
    """
    provenance: str
    """JSON; the same for all samples."""
    own_contact: Mapping[int, Int32[np.ndarray, " labelled"]] = field(default_factory=dict)
    """Row -> SMPL+H vertices that touch by the data set's own labels, for the frames that have labels."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceScene:
    """A room, and how far it reaches."""

    stored: ShardScene
    low_world: Float[np.ndarray, "3"]
    high_world: Float[np.ndarray, "3"]
    """Corners of the distance grid, or of the scan where there is no grid."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recording before any of its images are read."""

    member: Membership
    num_frames: int
    rows: tuple[int, ...]
    """Frames that samples will be made of, unless their images say otherwise."""
    left_out: Mapping[str, int]
    """Why the other frames are none of them, and how many."""


@runtime_checkable
class SampleSource(Protocol):
    """Where recordings come from."""

    @property
    def kind(self) -> ShardKind:
        """Of its bodies."""
        ...

    @property
    def files(self) -> BodyFiles:
        """Body models."""
        ...

    @property
    def code(self) -> tuple[str, ...]:
        """Rooms of this source whose code decides what is read."""
        ...

    def candidates(self) -> tuple[Candidate, ...]:
        """Every recording, sorted by name."""
        ...

    def candidate(self, name: str) -> Candidate:
        """One of them."""
        ...

    def recording(self, name: str) -> SourceRecording:
        """A recording's bodies and camera, and the way to its images."""
        ...

    def scene(self, recording: str) -> SourceScene:
        """The room of a recording."""
        ...

    def category_of_vertex(self) -> Int[np.ndarray, "6890"]:
        """Contact part of each vertex, 0 for none."""
        ...

    def inputs(self, recording: str) -> dict[str, str]:
        """Hash of everything a recording's samples depend on."""
        ...


def stored_bodies(parameters: SmplhParameters) -> SmplhParameters:
    """Bodies as shards hold them: float32, the betas filled up with zeros."""
    arrays = {
        entry.name: np.asarray(getattr(parameters, entry.name), np.float32)
        for entry in fields(SmplhParameters)
    }
    betas = arrays["betas"][:, :NUM_BETAS]
    arrays["betas"] = np.pad(betas, ((0, 0), (0, NUM_BETAS - betas.shape[1])))
    return SmplhParameters(**arrays)

"""What the scores of a recording may look at: observations, scan, fits. No truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPLH_JOINTS
from pipelines.bodies.model_file import read_skinned_arrays
from pipelines.bodies.track import pose_track
from pipelines.errors import DataInvalid
from pipelines.motion_prior.checkpoint import Priors
from pipelines.records import (
    BodyTrack,
    FittedSequence,
    SceneScan,
    SequenceObservations,
    SmplhParameters,
)

LIMBS = ("left_leg", "right_leg", "left_arm", "right_arm", "head", "trunk")
_LIMB_OF = {
    "hip": "leg",
    "knee": "leg",
    "ankle": "leg",
    "foot": "leg",
    "shoulder": "arm",
    "elbow": "arm",
    "wrist": "arm",
}


@dataclass(frozen=True, slots=True, eq=False)
class RecordingEvidence:
    """One recording as the observables read it; every per-frame array has the recording's frames."""

    observations: SequenceObservations
    scene: SceneScan
    result: FittedSequence
    """The fit that is scored."""
    track: BodyTrack
    """Its bodies."""
    others: Mapping[str, BodyTrack]
    """Bodies of the fits made on the way to it, by row."""
    other_fits: Mapping[str, FittedSequence]
    faces: Int[np.ndarray, "faces 3"]
    limb: Int[np.ndarray, "6890"]
    """Of each vertex, index into `LIMBS`."""
    priors: Priors

    @property
    def parameters(self) -> SmplhParameters:
        """Parameters of the scored fit."""
        assert isinstance(self.result.parameters, SmplhParameters)
        return self.result.parameters

    @property
    def valid(self) -> Bool[np.ndarray, " frames"]:
        """Frames with a fit that may be used."""
        return self.result.valid & np.isfinite(self.track.vertices_camera).all(axis=(1, 2))

    @property
    def up_camera(self) -> Float[np.ndarray, "3"]:
        """The observed floor's normal."""
        return self.observations.floor_camera[:3]


def gather_evidence(
    observations: SequenceObservations,
    scene: SceneScan,
    fits: Mapping[str, FittedSequence],
    files: BodyFiles,
    priors: Priors,
) -> RecordingEvidence:
    """Pose the fits of a recording; the last one is the result that is scored.

    Raises:
        DataInvalid: no fit, a result that is not SMPL+H, or a fit of other frames.
    """
    if not fits:
        raise DataInvalid("no fit to score", where=observations.recording)
    result = fits[list(fits)[-1]]
    if not isinstance(result.parameters, SmplhParameters):
        raise DataInvalid("the scored fit must be SMPL+H", where=f"{result.recording} {result.method}")
    for row, fit in fits.items():
        if fit.frame_names != observations.frame_names:
            raise DataInvalid(
                "fit and observations are of different frames",
                where=f"{observations.recording}, row {row}",
                expected=f"{len(observations.frame_names)} frames, the reader's names",
                found=f"{len(fit.frame_names)} frames",
                fix="fit the recording again",
            )
    others = list(fits)[:-1]
    arrays = read_skinned_arrays(files.smplh(result.gender))
    return RecordingEvidence(
        observations=observations,
        scene=scene,
        result=result,
        track=pose_track(result, files),
        others={row: pose_track(fits[row], files) for row in others},
        other_fits={row: fits[row] for row in others},
        faces=arrays.faces,
        limb=_limbs(arrays.weights),
        priors=priors,
    )


def _limbs(weights: Float[np.ndarray, "verts joints"]) -> Int[np.ndarray, " verts"]:
    """Limb of the joint that moves a vertex most."""
    of_joint = np.array([LIMBS.index(_limb(name)) for name in SMPLH_JOINTS])
    return of_joint[weights.argmax(axis=1)]


def _limb(joint: str) -> str:
    side, _, part = joint.partition("_")
    if joint in ("neck", "head"):
        return "head"
    if side not in ("left", "right") or part == "collar":
        return "trunk"
    return f"{side}_{_LIMB_OF.get(part, 'arm')}"  # fingers are part of the arm

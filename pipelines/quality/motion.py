"""Does the body move like a person: outliers of the track, and what the priors make of it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import median_filter

from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.metrics.plausibility import run_starts, second_difference
from pipelines.motion_prior.rollout import transitions
from pipelines.motion_prior.state import states_from_motion
from pipelines.quality.evidence import RecordingEvidence
from pipelines.quality.settings import ObservableSettings
from pipelines.quality.time import by_segment, carried


def motion_observables(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Acceleration of the 22 joints (mean and worst), distance from the running median (mean, worst).

    With them the nearness of a seam between windows and of an end of a clip: 1 beside it, 0 from
    `edge_frames` on.
    """
    segments = evidence.observations.segment_id
    joints = carried(evidence.track.joints_camera.astype(np.float64), evidence.valid, segments)
    rate = evidence.observations.frame_rate_hz
    acceleration = np.full(joints.shape[:2], np.nan)
    starts = run_starts(evidence.valid, segments, 3)
    acceleration[starts + 1] = np.linalg.norm(second_difference(joints, starts, rate), axis=-1)
    median = by_segment(
        lambda part: median_filter(part, size=(settings.median_frames, 1, 1), mode="nearest"),
        joints,
        segments,
    )
    jump_mm = 1e3 * np.linalg.norm(joints - median, axis=-1)
    edges = np.flatnonzero(np.diff(segments)) + 1
    seams = np.flatnonzero(np.diff(evidence.result.window_id)) + 1
    ends = np.concatenate([[0], edges, [len(segments)]])
    return {
        "acceleration_m_s2": _row_mean(acceleration),
        "acceleration_worst_m_s2": acceleration.max(axis=1),
        "jump_mm": jump_mm.mean(axis=1),
        "jump_worst_mm": jump_mm.max(axis=1),
        "seam_nearness": _nearness(seams, len(segments), settings.edge_frames),
        "end_nearness": _nearness(ends, len(segments), settings.edge_frames),
    }


@torch.no_grad()
def prior_observables(evidence: RecordingEvidence) -> dict[str, Float[np.ndarray, " frames"]]:
    """What the pose prior and the motion prior make of the result.

    `pose_prior`: squared norm of the latent pose; `pose_prior_rad`: mean angle between the pose and the
    nearest one the prior knows; `motion_prior_nats`: divergence of the transition's posterior from the
    prior's prediction, the larger one of the transitions into and out of a frame.
    """
    body = torch.as_tensor(evidence.parameters.body_pose, dtype=torch.float32).unflatten(1, (21, 3))
    pose_prior = evidence.priors.pose
    latent, _ = pose_prior.encode(body)
    known, own = pose_prior.decode(latent), rotvec_to_rotmat(body)
    cosine = ((known.mT @ own).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return {
        "pose_prior": latent.square().sum(-1).double().numpy(),
        "pose_prior_rad": cosine.clamp(-1, 1).acos().mean(-1).double().numpy(),
        "motion_prior_nats": _surprise(evidence),
    }


def _surprise(evidence: RecordingEvidence) -> Float[np.ndarray, " frames"]:
    """KL(posterior || prior) of every transition inside runs of valid frames of one clip."""
    segments = evidence.observations.segment_id
    starts = run_starts(evidence.valid, segments, 2)
    surprise = np.full(len(segments), np.nan)
    for run in _runs(starts):
        nats = _divergence(evidence, slice(int(run[0]), int(run[-1]) + 2))
        for shift in (0, 1):
            surprise[run + shift] = np.fmax(surprise[run + shift], nats)
    return surprise


def _runs(starts: np.ndarray) -> list[np.ndarray]:
    """Consecutive numbers together; a run needs two transitions to have velocities."""
    if len(starts) == 0:
        return []
    return [run for run in np.split(starts, np.flatnonzero(np.diff(starts) > 1) + 1) if len(run) > 1]


def _divergence(evidence: RecordingEvidence, frames: slice) -> Float[np.ndarray, " transitions"]:
    parameters = evidence.parameters
    up = _up_from_camera(evidence.up_camera)
    joints = evidence.track.joints_camera[frames].astype(np.float64) @ up.T
    joints[..., 2] -= evidence.observations.floor_camera[3]
    # The pelvis joint lies at transl + J0 in any frame, J0 being fixed to the model.
    rest_pelvis = evidence.track.joints_camera[frames, 0] - parameters.transl[frames]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32)[None]

    states = states_from_motion(
        tensor(joints[:, 0] - rest_pelvis),
        tensor(up) @ rotvec_to_rotmat(tensor(parameters.global_orient[frames])),
        rotvec_to_rotmat(tensor(parameters.body_pose[frames]).unflatten(-1, (21, 3))),
        tensor(joints),
        evidence.observations.frame_rate_hz,
    )
    past, following = transitions(states)
    motion = evidence.priors.motion
    mean, variance = motion.posterior(past, following)
    expected, spread = motion.prior(past)
    nats = 0.5 * (
        (variance + (mean - expected).square()) / spread - 1 + spread.log() - variance.log()
    ).sum(-1)
    return nats[0].double().numpy()


def _up_from_camera(normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation into a frame whose z axis is the floor's normal."""
    ahead = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, normal), ahead, normal])


def _nearness(marks: np.ndarray, frames: int, limit: int) -> Float[np.ndarray, " frames"]:
    """1 on both sides of a mark, which lies before its frame, falling to 0 over `limit` frames."""
    if len(marks) == 0:
        return np.zeros(frames)
    distance = np.abs(np.arange(frames)[:, None] + 0.5 - marks).min(axis=1) - 0.5
    return np.maximum(1.0 - distance / limit, 0.0)


def _row_mean(values: Float[np.ndarray, "frames joints"]) -> Float[np.ndarray, " frames"]:
    return np.asarray(values.mean(axis=1), dtype=np.float64)

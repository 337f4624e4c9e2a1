"""From the optimiser's variables to bodies: posed frame by frame, or rolled out by the motion prior.

    prediction = predict_frames(models, variables, mesh=True)          # stages 1-2
    prediction = predict_motion(models, variables, num_frames, mesh=True)   # stage 3

Both are differentiable and return what the energies read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.model import SmplhBody
from pipelines.fitting.variables import Variables
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.canonical import HeadingMode, PriorFrame, prior_frame
from pipelines.motion_prior.initial_state import InitialStatePrior
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.pose_prior import PosePrior
from pipelines.motion_prior.rollout import infer_latents, roll_out
from pipelines.motion_prior.state import CONTACT_JOINTS, MotionState, states_from_motion


@dataclass(frozen=True, slots=True, eq=False)
class FitModels:
    """Body and priors of one fit, all of one dtype."""

    body: SmplhBody
    pose: PosePrior
    motion: MotionPrior
    initial_state: InitialStatePrior
    heading: HeadingMode


@dataclass(frozen=True, slots=True, eq=False)
class MotionPrediction:
    """What only stage 3 knows, canonical ("prior") frame."""

    states: MotionState
    """Rolled-out states (windows, frames); frame 0 is the first state itself."""
    joints_prior: Float[Tensor, "windows frames 22 3"]
    """Joints of the SMPL body, not of the roll-out."""
    contacts: Float[Tensor, "windows frames 22"]
    """Contact probability; 0 for joints without a contact output; frame 0 copies frame 1."""
    latents: Float[Tensor, "windows steps 48"]
    prior_mean: Float[Tensor, "windows steps 48"]
    prior_variance: Float[Tensor, "windows steps 48"]
    floor_camera: Float[Tensor, "windows 3"]
    frame: PriorFrame


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Bodies of all windows in the camera frame."""

    root_rotmats: Float[Tensor, "windows frames 3 3"]
    body_rotmats: Float[Tensor, "windows frames 21 3 3"]
    transl: Float[Tensor, "windows frames 3"]
    betas: Float[Tensor, "windows betas"]
    latent_pose: Float[Tensor, "windows poses 32"] | None
    """None in stages of kind `poses`."""
    joints: Float[Tensor, "windows frames joints 3"]
    """73 output joints, or the 22 body joints when no mesh was asked for."""
    vertices: Float[Tensor, "windows frames verts 3"] | None
    motion: MotionPrediction | None


def predict_frames(models: FitModels, variables: Variables, *, mesh: bool = True) -> Prediction:
    """Stages 1-2: every frame's body from its own translation, orientation and latent pose."""
    root = rotvec_to_rotmat(variables["root_orient"])
    body = models.pose.decode(variables["latent_pose"])
    return _posed(models, variables, root, body, variables["trans"], mesh, None)


def predict_poses(models: FitModels, variables: Variables, *, mesh: bool = True) -> Prediction:
    """After stage 3: every frame's body from its own joint rotations."""
    root = rotvec_to_rotmat(variables["root_orient"])
    body = rotvec_to_rotmat(variables["body_pose"].unflatten(-1, (21, 3)))
    return _posed(models, variables, root, body, variables["trans"], mesh, None)


def predict_motion(
    models: FitModels, variables: Variables, num_frames: int, *, mesh: bool = True
) -> Prediction:
    """Stage 3: the first frame's state, rolled out by the latents for `num_frames` frames.

    The canonical frame is made anew from the current floor, first translation, first orientation and
    betas, so gradients reach all of them.
    """
    frame, first = first_state(models, variables)
    latents = variables["latent_motion"][:, : num_frames - 1]
    out = roll_out(models.motion, first[:, 0], latents, mode=models.heading)
    states = _prepend(first, out.states)
    betas = variables["betas"]
    rotmats = torch.cat([states.root_rotmat[:, :, None], states.body_rotmats], dim=2)
    joints_prior = models.body.joints_from_rotmats(
        _per_frame(betas, num_frames), rotmats.flatten(0, 1), states.transl.flatten(0, 1)
    ).unflatten(0, (-1, num_frames))
    assert out.prior_mean is not None
    assert out.prior_variance is not None
    motion = MotionPrediction(
        states=states,
        joints_prior=joints_prior,
        contacts=_spread_contacts(out.contact_logits),
        latents=latents,
        prior_mean=out.prior_mean,
        prior_variance=out.prior_variance,
        floor_camera=variables["floor_plane"],
        frame=frame,
    )
    root, transl = frame.to_camera(states.root_rotmat, states.transl)
    return _posed(models, variables, root, states.body_rotmats, transl, mesh, motion)


def first_state(models: FitModels, variables: Variables) -> tuple[PriorFrame, MotionState]:
    """The canonical frame of each window and its first state there, (windows, 1)."""
    betas = variables["betas"]
    body = models.pose.decode(variables["latent_pose"][:, :1])
    root = rotvec_to_rotmat(variables["root_orient"][:, :1])
    transl = variables["trans"][:, :1]
    rest_pelvis = models.body.rest_pelvis(betas)
    frame = prior_frame(variables["floor_plane"], transl[:, 0], root[:, 0], transl[:, 0] + rest_pelvis)
    root, transl = frame.from_camera(root, transl, rest_pelvis)
    joints = models.body.joints_from_rotmats(betas, torch.cat([root, body[:, 0]], dim=1), transl[:, 0])
    state = MotionState(
        transl,
        variables["trans_vel"],
        root,
        variables["root_orient_vel"],
        body,
        joints[:, None],
        variables["joints_vel"],
    )
    return frame, state


def start_motion(
    models: FitModels, variables: Variables, floor: Float[Tensor, "windows 3"], lengths: list[int]
) -> dict[str, Tensor]:
    """Hand-over from stage 2 to stage 3.

    The stage-2 motion is carried to the canonical frame; its velocities give the first state's, the
    posterior means of its transitions the latents. Latents of padding frames stay 0.
    """
    prediction = predict_frames(models, variables, mesh=False)
    rest_pelvis = models.body.rest_pelvis(variables["betas"])
    transl = variables["trans"]
    frame = prior_frame(floor, transl[:, 0], prediction.root_rotmats[:, 0], transl[:, 0] + rest_pelvis)
    root_prior, transl_prior = frame.from_camera(prediction.root_rotmats, transl, rest_pelvis)
    windows, num_frames = transl.shape[:2]
    rotmats = torch.cat([root_prior[:, :, None], prediction.body_rotmats], dim=2)
    joints = models.body.joints_from_rotmats(
        _per_frame(variables["betas"], num_frames), rotmats.flatten(0, 1), transl_prior.flatten(0, 1)
    ).unflatten(0, (windows, num_frames))
    latents = transl.new_zeros(windows, max(num_frames - 1, 0), 48)
    velocities = {
        "trans_vel": transl.new_zeros(windows, 1, 3),
        "joints_vel": transl.new_zeros(windows, 1, 22, 3),
        "root_orient_vel": transl.new_zeros(windows, 1, 3),
    }
    for window, length in enumerate(lengths):
        if length < 2:
            continue
        rows = (slice(window, window + 1), slice(0, length))
        states = states_from_motion(
            transl_prior[rows], root_prior[rows], prediction.body_rotmats[rows], joints[rows]
        )
        velocities["trans_vel"][window] = states.transl_velocity[0, :1]
        velocities["joints_vel"][window] = states.joints_velocity[0, :1]
        velocities["root_orient_vel"][window] = states.root_angular_velocity[0, :1]
        mean, _ = infer_latents(models.motion, states, mode=models.heading)
        latents[window, : length - 1] = mean[0]
    return {
        "trans": transl[:, :1],
        "root_orient": variables["root_orient"][:, :1],
        "latent_pose": variables["latent_pose"][:, :1],
        "betas": variables["betas"],
        "latent_motion": latents,
        **velocities,
        "floor_plane": floor,
    }


def _posed(
    models: FitModels,
    variables: Variables,
    root: Tensor,
    body: Tensor,
    transl: Tensor,
    mesh: bool,
    motion: MotionPrediction | None,
) -> Prediction:
    windows, num_frames = transl.shape[:2]
    betas = _per_frame(variables["betas"], num_frames)
    rotmats = torch.cat([root[:, :, None], body], dim=2).flatten(0, 1)
    vertices = None
    if mesh:
        posed = models.body.from_rotmats(betas, rotmats, transl.flatten(0, 1))
        joints, vertices = posed.joints, posed.vertices.unflatten(0, (windows, num_frames))
    else:
        joints = models.body.joints_from_rotmats(betas, rotmats, transl.flatten(0, 1))
    return Prediction(
        root_rotmats=root,
        body_rotmats=body,
        transl=transl,
        betas=variables["betas"],
        latent_pose=variables.get("latent_pose"),
        joints=joints.unflatten(0, (windows, num_frames)),
        vertices=vertices,
        motion=motion,
    )


def _per_frame(betas: Float[Tensor, "windows betas"], num_frames: int) -> Float[Tensor, "rows betas"]:
    return betas.repeat_interleave(num_frames, dim=0)


def _prepend(first: MotionState, following: MotionState) -> MotionState:
    fields = MotionState.__dataclass_fields__
    return MotionState(
        *(torch.cat([getattr(first, name), getattr(following, name)], dim=1) for name in fields)
    )


def _spread_contacts(
    logits: Float[Tensor, "windows steps 9"],
) -> Float[Tensor, "windows frames 22"]:
    """Nine logits -> probabilities of 22 joints; the first frame copies the second."""
    spread = logits.new_zeros(*logits.shape[:2], 22)
    spread[..., list(CONTACT_JOINTS)] = logits.sigmoid()
    first = spread[:, :1] if logits.shape[1] else spread.new_zeros(spread.shape[0], 1, 22)
    return torch.cat([first, spread], dim=1)

"""First-order response of the roll-out: how each state answers to the state before it and to its latent.

A state's tangent has 207 numbers: translation 3, root turn 3, body turns 63, velocity 3, angular velocity 3,
joints 66, joint velocities 66; turns act from the left as in `jacobians.py`, everything in the canonical
frame. The first 69 are the body's columns there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.fitting.jacobians import rotvec_turns
from pipelines.fitting.network_jacobian import perceptron_jacobian
from pipelines.fitting.prediction import FitModels, first_state
from pipelines.fitting.variables import Variables
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.canonical import heading_rotmat, planar_shift, to_local_frame
from pipelines.motion_prior.network import LATENT_SIZE, MotionPrior, add_residual
from pipelines.motion_prior.state import (
    DECODER_OUTPUT_SIZE,
    NUM_CONTACTS,
    STATE_SIZE,
    MotionState,
    pack,
    unpack,
)

TANGENT = 207
BODY = slice(0, 69)
VELOCITIES = slice(69, 75)
JOINTS = slice(75, 141)
JOINT_VELOCITIES = slice(141, 207)
_BODY_TRIPLES = slice(2, 23)
_JOINT_TRIPLES = slice(25, 47)
"""Of the tangent seen as 69 rows of three: translation, 22 turns, 2 velocities, joints, their velocities."""
_CHANGE_ORDER = (*range(3), *range(6, 9), *range(12, 75), *range(3, 6), *range(9, 12), *range(75, 207))
"""Decoder output (trans, velocity, root, angular velocity, body, joints ...) in the tangent's order."""
_GENERATORS = torch.tensor(
    [
        [[0.0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ]
)
_CHUNK = 128
"""States differentiated at once: bounds the memory of the networks' derivatives."""


@dataclass(frozen=True, slots=True, eq=False)
class StepResponse:
    """Derivatives of every step of a roll-out."""

    by_state: Float[Tensor, "windows steps 207 207"]
    by_latent: Float[Tensor, "windows steps 207 48"]
    prior_by_state: Float[Tensor, "windows steps 48 207"]
    """Of the prior's mean, by the state it is conditioned on."""


def step_response(
    motion: MotionPrior,
    states: MotionState,
    latents: Float[Tensor, "windows steps 48"],
    pivot: Float[Tensor, "windows 3"],
) -> StepResponse:
    """Differentiate each step on its own at the states of a roll-out (frames 0 .. steps).

    The heading is differentiated in its smooth form whatever form the roll-out used.
    """
    windows, steps = latents.shape[:2]
    parts = [
        _chunk_response(motion, _rows(states[:, :-1])[rows], latents.flatten(0, 1)[rows], pivots)
        for rows, pivots in _chunks(pivot, steps)
    ]
    joined = [torch.cat(blocks).unflatten(0, (windows, steps)) for blocks in zip(*parts, strict=True)]
    return StepResponse(*joined)


def _chunks(pivot: Float[Tensor, "windows 3"], steps: int) -> list[tuple[slice, Tensor]]:
    pivots = pivot.repeat_interleave(steps, dim=0)
    starts = range(0, len(pivots), _CHUNK)
    return [(slice(start, start + _CHUNK), pivots[start : start + _CHUNK]) for start in starts]


def _chunk_response(
    motion: MotionPrior,
    past: MotionState,
    latents: Float[Tensor, "rows 48"],
    pivot: Float[Tensor, "rows 3"],
) -> tuple[Tensor, Tensor, Tensor]:
    """One row per step: carry the tangent to the local frame, through the networks, and back."""
    A, shift = heading_rotmat(past.root_rotmat), planar_shift(past.transl)
    local = to_local_frame(past, A, shift, pivot)
    vector = pack(local)
    change, by_input = perceptron_jacobian(
        motion.decoder, torch.cat([vector, latents], dim=1), DECODER_OUTPUT_SIZE - NUM_CONTACTS
    )
    _, mean_by_vector = perceptron_jacobian(motion.prior_net, vector, LATENT_SIZE)
    by_state = _by_tangent(by_input[..., :STATE_SIZE], local)[:, list(_CHANGE_ORDER)]
    by_latent = by_input[:, list(_CHANGE_ORDER), STATE_SIZE:]
    by_state, by_latent = _apply_change(change, by_state, by_latent)
    into_local = _LocalMap.at(past, local, A, pivot)
    prior_by_state = into_local.compose(_by_tangent(mean_by_vector, local))
    predicted = unpack(add_residual(vector, change)[:, :STATE_SIZE])
    by_state = into_local.leave(into_local.compose(by_state), predicted)
    return by_state, into_local.leave_constant(by_latent), prior_by_state


def _by_tangent(
    by_vector: Float[Tensor, "rows outputs 339"], state: MotionState
) -> Float[Tensor, "rows outputs 207"]:
    """Derivative by the packed vector -> derivative by the tangent (turn w changes R by [w]x R)."""
    transl, velocity, root, spin, body, joints, joint_velocities = by_vector.split(
        (3, 3, 9, 3, 189, 66, 66), dim=-1
    )
    matrices = torch.cat([state.root_rotmat[:, None], state.body_rotmats], dim=1)
    generators = _GENERATORS.to(matrices) @ matrices[:, :, None]  # (rows, 22, 3, 3, 3)
    slopes = torch.cat([root, body], dim=-1).unflatten(-1, (22, 9))
    turns = torch.einsum("rokm,rkwm->rokw", slopes, generators.flatten(-2)).flatten(2)
    return torch.cat([transl, turns, velocity, spin, joints, joint_velocities], dim=-1)


def _apply_change(
    change: Float[Tensor, "rows 216"], by_state: Tensor, by_latent: Tensor
) -> tuple[Tensor, Tensor]:
    """Next = past + change for vectors, exp(change) past for rotations."""
    rotvecs = torch.cat([change[:, 6:9], change[:, 12:75]], dim=1).unflatten(1, (22, 3))
    jacobian = rotvec_turns(rotvecs.flatten(0, 1)).unflatten(0, (-1, 22))
    turned = rotvec_to_rotmat(rotvecs)
    results = []
    for matrix in (by_state, by_latent):
        turns = (jacobian @ matrix[:, 3:69].unflatten(1, (22, 3))).flatten(1, 2)
        results.append(torch.cat([matrix[:, :3], turns, matrix[:, 69:]], dim=1))
    index = torch.arange(TANGENT)
    vectors = torch.cat([index[:3], index[69:]])
    results[0][:, vectors, vectors] += 1
    for joint in range(22):
        block = slice(3 + 3 * joint, 6 + 3 * joint)
        results[0][:, block, block] += turned[:, joint]
    return results[0], results[1]


@dataclass(frozen=True, slots=True, eq=False)
class _LocalMap:
    """Tangents between the canonical frame and a state's own planar frame."""

    A: Float[Tensor, "rows 3 3"]
    """Yaw of the local frame."""
    yaw_by_root: Float[Tensor, "rows 3"]
    """Turn of A about z per root turn (canonical)."""
    arms: Float[Tensor, "rows 207"]
    """Change of the local tangent per turn of A: z x each local vector."""
    pivot: Float[Tensor, "rows 3"]

    @staticmethod
    def at(past: MotionState, local: MotionState, A: Tensor, pivot: Tensor) -> _LocalMap:
        right = -past.root_rotmat[..., 0]
        planar = right[:, :2].square().sum(-1, keepdim=True)
        tilt = right[:, 2:] * right[:, :2] / planar
        yaw = torch.cat([tilt, -torch.ones_like(planar)], dim=1)
        return _LocalMap(A, yaw, _yaw_arms(local, pivot), pivot)

    def compose(self, by_local: Float[Tensor, "rows outputs 207"]) -> Tensor:
        """Derivative by the local tangent -> by the canonical tangent."""
        turned = (by_local.unflatten(2, (69, 3)) @ self.A[:, None]).clone()
        turned[:, :, _BODY_TRIPLES] = by_local.unflatten(2, (69, 3))[:, :, _BODY_TRIPLES]
        # positions are taken relative to the planar translation
        turned[:, :, 0, :2] = -turned[:, :, _JOINT_TRIPLES, :2].sum(2)
        turned[:, :, 1] += (by_local @ self.arms[..., None]) * self.yaw_by_root[:, None]
        return turned.flatten(2)

    def leave(self, by_state: Float[Tensor, "rows 207 columns"], result: MotionState) -> Tensor:
        """Local result -> canonical result, whose frame itself moves with the state."""
        back = self.leave_constant(by_state)
        arms = _rotate_triples(_yaw_arms(result, self.pivot)[..., None], self.A.mT)
        back[:, :, 3:6] -= arms * self.yaw_by_root[:, None]
        for axis in range(2):
            rows = torch.tensor([axis, *range(JOINTS.start + axis, JOINTS.stop, 3)])
            back[:, rows, axis] += 1
        return back

    def leave_constant(self, by_latent: Float[Tensor, "rows 207 columns"]) -> Tensor:
        """Local result -> canonical result in a frame that stands still."""
        return _rotate_triples(by_latent, self.A.mT)


def _rotate_triples(
    matrix: Float[Tensor, "rows 207 columns"], R: Float[Tensor, "rows 3 3"]
) -> Float[Tensor, "rows 207 columns"]:
    triples = matrix.unflatten(1, (69, 3))
    turned = R[:, None] @ triples
    turned[:, _BODY_TRIPLES] = triples[:, _BODY_TRIPLES]
    return turned.flatten(1, 2)


def _yaw_arms(state: MotionState, pivot: Float[Tensor, "rows 3"]) -> Float[Tensor, "rows 207"]:
    """Z x every vector of a state; a root turn answers with z itself, body turns not at all."""
    vectors = torch.cat(
        [
            state.transl[:, None],
            torch.zeros_like(state.joints),
            state.transl_velocity[:, None],
            state.root_angular_velocity[:, None],
            state.joints + pivot[:, None],
            state.joints_velocity,
        ],
        dim=1,
    )
    crossed = torch.stack([-vectors[..., 1], vectors[..., 0], torch.zeros_like(vectors[..., 0])], dim=-1)
    crossed[:, 1, 2] = 1
    return crossed.flatten(1)


def _rows(states: MotionState) -> MotionState:
    """Merge windows and steps."""
    names = MotionState.__dataclass_fields__
    return MotionState(*(getattr(states, name).detach().flatten(0, 1) for name in names))


@dataclass(frozen=True, slots=True, eq=False)
class StartResponse:
    """Derivatives by the window's own variables (columns in the order they were named)."""

    first_state: Float[Tensor, "windows 207 columns"]
    frame_turn: Float[Tensor, "windows 3 columns"]
    """Left turn of R_camera_from_prior, camera axes."""


def start_response(models: FitModels, variables: Variables, names: list[str]) -> StartResponse:
    """Differentiate the first state and the canonical frame."""
    place = {name: value.detach() for name, value in variables.items() if name != "latent_motion"}
    frame, state = first_state(models, place)
    sizes = [place[name][0].numel() for name in names]
    others = {name: value for name, value in place.items() if name not in names}
    R_reference = frame.R_prior_from_camera.mT.detach()
    root_reference, body_reference = state.root_rotmat[:, 0], state.body_rotmats[:, 0]

    def start(flat: Tensor, rest: dict[str, Tensor], R: Tensor, root: Tensor, body: Tensor) -> Tensor:
        parts = flat.split(sizes)
        moved = {
            name: part.reshape(1, *place[name].shape[1:])
            for name, part in zip(names, parts, strict=True)
        }
        frame, state = first_state(models, {**{k: v[None] for k, v in rest.items()}, **moved})
        turn = _turn_of(frame.R_prior_from_camera[0].mT, R)
        return torch.cat([_tangent_of(state[0, 0], root, body), turn])

    flat = torch.cat([place[name].flatten(1) for name in names], dim=1)
    differentiate = torch.func.vmap(torch.func.jacrev(start))
    jacobian = differentiate(
        flat, others, R_reference, root_reference.detach(), body_reference.detach()
    ).detach()
    return StartResponse(jacobian[:, :TANGENT], jacobian[:, TANGENT:])


def _tangent_of(state: MotionState, root: Tensor, body: Tensor) -> Float[Tensor, "207"]:
    """Coordinates around a reference; turns are linearised, which their derivative there is not."""
    return torch.cat(
        [
            state.transl,
            _turn_of(state.root_rotmat, root),
            _turn_of(state.body_rotmats, body).flatten(),
            state.transl_velocity,
            state.root_angular_velocity,
            state.joints.flatten(),
            state.joints_velocity.flatten(),
        ]
    )


def _turn_of(R: Float[Tensor, "*batch 3 3"], reference: Tensor) -> Float[Tensor, "*batch 3"]:
    spin = R @ reference.mT
    return 0.5 * torch.stack(
        [
            spin[..., 2, 1] - spin[..., 1, 2],
            spin[..., 0, 2] - spin[..., 2, 0],
            spin[..., 1, 0] - spin[..., 0, 1],
        ],
        dim=-1,
    )

"""A motion put on the stage: posed bodies, parameters in the camera frame, what the room hides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplxBody
from pipelines.bodies.track import parameter_tensors
from pipelines.bodies.transfer import smplx_to_smplh_vertices
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.geometry.transforms import invert, transform_points
from pipelines.records import SmplxParameters, SyntheticTruth
from pipelines.synthetic.motions import MotionClip
from pipelines.synthetic.rooms import BodySweep, Room
from pipelines.synthetic.scan import RoomMesh
from pipelines.synthetic.visibility import LIMB_RADIUS_M, hidden_by_scene, inside_image

_FRAMES_AT_ONCE = 32
CONTACT_DISTANCE_M = 0.02
NUM_BODY_JOINTS = 22


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """Bodies of a clip in one frame of reference."""

    vertices: Float32[np.ndarray, "frames 10475 3"]
    joints: Float32[np.ndarray, "frames 127 3"]

    def moved(self, T_dst_from_src: Float[np.ndarray, "4 4"]) -> PosedBody:
        """The same bodies in another frame."""
        return PosedBody(
            transform_points(T_dst_from_src, self.vertices),
            transform_points(T_dst_from_src, self.joints),
        )

    def sweep(self) -> BodySweep:
        """What a room is built around."""
        joints = self.joints[:, :NUM_BODY_JOINTS]
        return BodySweep(self.vertices.astype(np.float64), joints.astype(np.float64))


@torch.no_grad()
def pose(body: SmplxBody, parameters: SmplxParameters) -> PosedBody:
    """Vertices and joints of every frame."""
    tensors = parameter_tensors(parameters, body.dtype)
    vertices, joints = [], []
    for start in range(0, len(parameters.transl), _FRAMES_AT_ONCE):
        mesh = body(**{name: value[start : start + _FRAMES_AT_ONCE] for name, value in tensors.items()})
        vertices.append(mesh.vertices.numpy())
        joints.append(mesh.joints.numpy())
    return PosedBody(np.concatenate(vertices), np.concatenate(joints))


@torch.no_grad()
def move_parameters(
    body: SmplxBody, parameters: SmplxParameters, T_dst_from_src: Float[np.ndarray, "4 4"]
) -> SmplxParameters:
    """The same bodies expressed in another frame.

    The root turns about the pelvis J0, not the origin: R' = R R_root, t' = R (J0 + t) + T - J0.
    """
    tensors = parameter_tensors(parameters, torch.float64)
    R = torch.as_tensor(T_dst_from_src[:3, :3], dtype=torch.float64)
    shape = tensors["betas"].to(body.dtype), tensors["expression"].to(body.dtype)
    pelvis = body.rest_pelvis(*shape).double()
    turned = rotmat_to_rotvec(R @ rotvec_to_rotmat(tensors["global_orient"]))
    shift = torch.as_tensor(T_dst_from_src[:3, 3], dtype=torch.float64)
    transl = (pelvis + tensors["transl"]) @ R.T + shift - pelvis
    return replace(parameters, global_orient=turned.numpy(), transl=transl.numpy())


def make_truth(
    recording: str,
    frame_names: tuple[str, ...],
    clip: MotionClip,
    body: SmplxBody,
    files: BodyFiles,
    posed_camera: PosedBody,
    room: Room,
    mesh: RoomMesh,
    color_camera: RigCamera,
) -> SyntheticTruth:
    """Everything that is known of a recording, camera frame."""
    joints = posed_camera.joints[:, :NUM_BODY_JOINTS].astype(np.float64)
    inside = inside_image(color_camera, joints)
    hidden = hidden_joints(joints, room, mesh)
    return SyntheticTruth(
        recording=recording,
        gender=clip.gender,
        motion_family=clip.family,
        frame_names=frame_names,
        parameters=move_parameters(body, clip.parameters, invert(room.T_room_from_camera)),
        person_present=np.asarray(inside.any(axis=1)),
        joint_hidden=hidden | ~inside,
        foot_contact=clip.foot_contact,
        vertex_contact=_vertex_contact(files, posed_camera, room),
        floor_camera=room.floor_camera,
        T_world_from_camera=room.T_world_from_camera,
    )


def hidden_joints(
    joints_camera: Float[np.ndarray, "frames 22 3"], room: Room, mesh: RoomMesh
) -> Bool[np.ndarray, "frames 22"]:
    """Joints whose limb the room hides from the colour camera."""
    joints_room = transform_points(room.T_room_from_camera, joints_camera)
    scene = RayCaster(mesh.vertices, mesh.faces)
    return hidden_by_scene(scene, room.T_room_from_camera[:3, 3], joints_room, LIMB_RADIUS_M)


@torch.no_grad()
def _vertex_contact(
    files: BodyFiles, posed_camera: PosedBody, room: Room
) -> Bool[np.ndarray, "frames 6890"]:
    rows = []
    for start in range(0, len(posed_camera.vertices), _FRAMES_AT_ONCE):
        chunk = torch.as_tensor(posed_camera.vertices[start : start + _FRAMES_AT_ONCE])
        vertices = smplx_to_smplh_vertices(files, chunk).numpy()
        rows.append(room.signed_distance_camera(vertices.astype(np.float64)) < CONTACT_DISTANCE_M)
    return np.concatenate(rows)

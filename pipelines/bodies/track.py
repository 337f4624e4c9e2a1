"""Fitted or true parameters as posed bodies on the common SMPL+H topology."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import BODY25_FROM_SMPLH, BODY25_FROM_SMPLX, SMPL_BODY_JOINTS
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.records import (
    BodyTrack,
    FittedSequence,
    Gender,
    SmplhParameters,
    SmplxParameters,
    SyntheticTruth,
)

TRUTH_METHOD = "truth"
_FRAMES_AT_ONCE = 64


def pose_track(fitted: FittedSequence, files: BodyFiles) -> BodyTrack:
    """Bodies of a fit, camera frame; SMPL-X fits are carried over to the SMPL+H topology."""
    return _track(fitted.method, fitted.parameters, fitted.gender, files, fitted.valid)


def truth_track(truth: SyntheticTruth, files: BodyFiles) -> BodyTrack:
    """True bodies of a synthetic recording, camera frame; valid where the person is present."""
    return _track(TRUTH_METHOD, truth.parameters, truth.gender, files, truth.person_present)


@torch.no_grad()
def _track(
    method: str,
    parameters: SmplhParameters | SmplxParameters,
    gender: Gender,
    files: BodyFiles,
    valid: Bool[np.ndarray, " frames"],
) -> BodyTrack:
    frames = len(parameters.transl)
    vertices = np.zeros((frames, 6890, 3), np.float32)
    joints = np.zeros((frames, len(SMPL_BODY_JOINTS), 3), np.float32)
    keypoints = np.zeros((frames, 25, 3), np.float32)
    tensors = parameter_tensors(parameters)
    pose = _poser(parameters, gender, files)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        rows = slice(start, start + _FRAMES_AT_ONCE)
        posed = pose({name: tensor[rows] for name, tensor in tensors.items()})
        vertices[rows], joints[rows], keypoints[rows] = (part.numpy() for part in posed)
    return BodyTrack(method, vertices, joints, keypoints, np.asarray(valid, bool))


def parameter_tensors(
    parameters: SmplhParameters | SmplxParameters, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """The fields of a parameter record as tensors by name, ready to be passed to a body."""
    return {
        field.name: torch.tensor(np.asarray(getattr(parameters, field.name)), dtype=dtype)
        for field in dataclasses.fields(parameters)
    }


def _poser(
    parameters: SmplhParameters | SmplxParameters, gender: Gender, files: BodyFiles
) -> Callable[[dict[str, Tensor]], tuple[Tensor, Tensor, Tensor]]:
    """The function from parameters to 6890 vertices, 22 body joints and 25 keypoint joints."""
    body_joints = len(SMPL_BODY_JOINTS)
    if isinstance(parameters, SmplhParameters):
        smplh = load_smplh(files, gender, parameters.betas.shape[1])

        def pose_smplh(chunk: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            mesh = smplh(**chunk)
            return mesh.vertices, mesh.joints[:, :body_joints], mesh.joints[:, BODY25_FROM_SMPLH]

        return pose_smplh
    smplx = load_smplx(files, gender)

    def pose_smplx(chunk: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        mesh = smplx(**chunk)
        vertices = smplx_to_smplh_vertices(files, mesh.vertices)
        return vertices, mesh.joints[:, :body_joints], mesh.joints[:, BODY25_FROM_SMPLX]

    return pose_smplx

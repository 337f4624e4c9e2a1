from __future__ import annotations

import dataclasses

import numpy as np
import torch

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import BODY25_FROM_SMPLX
from pipelines.bodies.model import load_smplx
from pipelines.bodies.track import parameter_tensors, pose_track, truth_track
from pipelines.bodies.transfer import solve_smplx_from_smplh
from pipelines.records import FittedSequence, SmplhParameters, SmplxParameters, SyntheticTruth

FRAMES = 67  # more than one chunk


def fitted(parameters) -> FittedSequence:
    return FittedSequence(
        method="prox_humor",
        recording="recording",
        gender="female",
        frame_names=tuple(f"{k:05d}" for k in range(FRAMES)),
        parameters=parameters,
        status=("fit_failed", *("",) * (FRAMES - 1)),
        window_id=np.zeros(FRAMES, np.int64),
        T_world_from_camera=np.eye(4),
        floor_camera=np.array([0.0, -1.0, 0.0, 1.0]),
    )


def smplh_parameters() -> SmplhParameters:
    rng = np.random.default_rng(0)
    sizes = {"betas": 10, "global_orient": 3, "body_pose": 63, "transl": 3}
    return SmplhParameters(**{name: 0.3 * rng.standard_normal((FRAMES, n)) for name, n in sizes.items()})


def test_a_smplh_fit_and_its_smplx_conversion_give_the_same_track(files: BodyFiles) -> None:
    parameters = smplh_parameters()
    track = pose_track(fitted(parameters), files)
    assert track.vertices_camera.shape == (FRAMES, 6890, 3)
    assert not track.valid[0]
    assert track.valid[1:].all()
    solved = solve_smplx_from_smplh(files, "female", parameters)
    converted = pose_track(fitted(solved.parameters), files)
    apart = np.linalg.norm(converted.vertices_camera - track.vertices_camera, axis=-1)
    assert apart.mean() < 0.002
    for name in ("joints_camera", "keypoint_joints_camera"):
        distance = np.linalg.norm(getattr(converted, name) - getattr(track, name), axis=-1)
        assert distance.max() < 0.02, name


def test_truth_track_poses_the_true_smplx_body(files: BodyFiles) -> None:
    rng = np.random.default_rng(1)
    sizes = {"betas": 10, "expression": 10, "body_pose": 63, "left_hand_pose": 12, "right_hand_pose": 12}
    names = [field.name for field in dataclasses.fields(SmplxParameters)]
    draw = {n: 0.3 * rng.standard_normal((FRAMES, sizes.get(n, 3))) for n in names}
    parameters = SmplxParameters(**draw)
    truth = SyntheticTruth(
        recording="recording",
        gender="male",
        motion_family="walk",
        frame_names=tuple(str(k) for k in range(FRAMES)),
        parameters=parameters,
        person_present=np.arange(FRAMES) > 2,
        joint_hidden=np.zeros((FRAMES, 22), bool),
        foot_contact=np.zeros((FRAMES, 4), bool),
        vertex_contact=np.zeros((FRAMES, 6890), bool),
        floor_camera=np.array([0.0, -1.0, 0.0, 1.0]),
        T_world_from_camera=np.eye(4),
    )
    track = truth_track(truth, files)
    with torch.no_grad():
        mesh = load_smplx(files, "male")(**parameter_tensors(parameters))
    np.testing.assert_allclose(track.joints_camera, mesh.joints[:, :22].numpy(), atol=1e-6)
    np.testing.assert_allclose(
        track.keypoint_joints_camera, mesh.joints[:, list(BODY25_FROM_SMPLX)].numpy(), atol=1e-6
    )
    assert track.method == "truth"
    assert track.valid.sum() == FRAMES - 3

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.bodies.track import parameter_tensors
from pipelines.geometry.transforms import rigid, transform_points
from pipelines.records import SmplhParameters, SmplxParameters


def some_transform() -> np.ndarray:
    return rigid(Rotation.from_rotvec([1.2, -0.4, 2.0]).as_matrix(), np.array([0.3, -1.0, 2.0]))


def bodies(record: type, frames: int = 3):
    rng = np.random.default_rng(0)
    sizes = {"betas": 10, "expression": 10, "body_pose": 63, "left_hand_pose": 12, "right_hand_pose": 12}
    names = [field.name for field in dataclasses.fields(record)]
    return record(**{n: 0.5 * rng.standard_normal((frames, sizes.get(n, 3))) for n in names})


def posed(files: BodyFiles, parameters) -> torch.Tensor:
    load = load_smplh if isinstance(parameters, SmplhParameters) else load_smplx
    body = load(files, "male", dtype=torch.float64)
    return body(**parameter_tensors(parameters, torch.float64)).vertices


@pytest.mark.parametrize("record", [SmplhParameters, SmplxParameters])
def test_moved_parameters_give_the_moved_body(files: BodyFiles, record: type) -> None:
    parameters, T = bodies(record), some_transform()
    moved = move_parameters(files, "male", parameters, T)
    expected = transform_points(torch.tensor(T), posed(files, parameters))
    torch.testing.assert_close(posed(files, moved), expected, atol=1e-6, rtol=0)
    assert moved.body_pose is parameters.body_pose


def test_moving_transl_alone_would_displace_the_body_by_decimetres(files: BodyFiles) -> None:
    """The template's origin is not its pelvis: the trap this function exists for."""
    parameters, T = bodies(SmplhParameters), some_transform()
    right = move_parameters(files, "male", parameters, T)
    naive = transform_points(T, parameters.transl)
    assert np.linalg.norm(right.transl - naive, axis=1).min() > 0.1


def test_there_and_back_is_the_same(files: BodyFiles) -> None:
    parameters, T = bodies(SmplxParameters), some_transform()
    moved = move_parameters(files, "female", parameters, T)
    back = move_parameters(files, "female", moved, np.linalg.inv(T))
    np.testing.assert_allclose(back.transl, parameters.transl, atol=1e-9)
    np.testing.assert_allclose(back.global_orient, parameters.global_orient, atol=1e-6)

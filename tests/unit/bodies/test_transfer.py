from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.spatial.transform import Rotation

from pipelines.bodies.correspondence import read_transfer_matrix
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.skinning import forward_kinematics, skinning_offset
from pipelines.bodies.track import parameter_tensors
from pipelines.bodies.transfer import smplx_to_smplh_vertices, solve_smplx_from_smplh
from pipelines.bodies.transfer_curvature import PoseCurvature, left_jacobian
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.records import SmplhParameters


def natural_bodies(frames: int, betas: int = 10, seed: int = 0) -> SmplhParameters:
    rng = np.random.default_rng(seed)
    return SmplhParameters(
        betas=np.repeat(rng.standard_normal((1, betas)), frames, axis=0),
        global_orient=rng.standard_normal((frames, 3)) + np.array([3.0, 0.0, 0.0]),
        body_pose=0.3 * rng.standard_normal((frames, 63)),
        transl=rng.standard_normal((frames, 3)) + np.array([0.0, 0.0, 3.0]),
    )


def test_carried_vertices_are_the_matrix_product(files: BodyFiles) -> None:
    vertices = torch.randn(2, 10475, 3, generator=torch.Generator().manual_seed(0))
    expected = np.stack([read_transfer_matrix(files.transfer) @ each for each in vertices.numpy()])
    np.testing.assert_allclose(smplx_to_smplh_vertices(files, vertices).numpy(), expected, atol=1e-6)


def test_fitted_rows_with_several_weights_are_the_matrix_product(tmp_path: Path) -> None:
    """The licensed matrix has barycentric rows; a row may have fewer entries than others."""
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 10475, (6890, 3))
    weights = rng.random((6890, 3)) * [1, 1, 0]
    weights[::2, 2] = 0.4
    rows = np.repeat(np.arange(6890), 3)
    matrix = scipy.sparse.csc_matrix((weights.ravel(), (rows, columns.ravel())), shape=(6890, 20950))
    path = tmp_path / "smplx2smplh_deftrafo_setup.pkl"
    path.write_bytes(pickle.dumps({"mtx": matrix, "matching": None}, protocol=2))
    vertices = torch.randn(1, 10475, 3, generator=torch.Generator().manual_seed(0)).double()
    carried = smplx_to_smplh_vertices(BodyFiles(tmp_path, is_standin=False), vertices)
    expected = matrix.toarray()[:, :10475] @ vertices[0].numpy()
    np.testing.assert_allclose(carried[0].numpy(), expected, atol=1e-12)


def test_another_matrix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "smplx2smplh_deftrafo_setup.pkl"
    path.write_bytes(pickle.dumps({"mtx": scipy.sparse.eye(3, format="csr")}))
    with pytest.raises(DataInvalid, match=r"(?s)6890, 20950.*3, 3"):
        read_transfer_matrix(path)
    with pytest.raises(DataMissing):
        read_transfer_matrix(tmp_path / "absent.pkl")


@pytest.mark.parametrize(("gender", "betas"), [("male", 10), ("female", 16)])
def test_solved_smplx_lies_on_the_smplh_body(files: BodyFiles, gender, betas: int) -> None:
    wanted = natural_bodies(5, betas)
    solution = solve_smplx_from_smplh(files, gender, wanted)
    mesh = load_smplx(files, gender)(**parameter_tensors(solution.parameters))
    carried = smplx_to_smplh_vertices(files, mesh.vertices)
    target = load_smplh(files, gender, betas)(**parameter_tensors(wanted)).vertices
    distance = (carried - target).norm(dim=-1)
    np.testing.assert_allclose(solution.v2v_m, distance.mean(dim=1).numpy(), atol=1e-5)
    assert solution.v2v_m.max() < 0.0015
    assert distance.max() < 0.02
    assert np.ptp(solution.parameters.betas, axis=0).max() < 1e-6


def test_solving_repairs_what_equal_joint_rotations_leave(files: BodyFiles, monkeypatch) -> None:
    """Another body than the target's: rotations alone do not fit, the search must improve them."""
    wanted = natural_bodies(3)
    monkeypatch.setattr(
        "pipelines.bodies.transfer.load_smplx", lambda files, _gender: load_smplx(files, "female")
    )
    solved = solve_smplx_from_smplh(files, "male", wanted)
    monkeypatch.setattr("pipelines.bodies.transfer._MAX_STEPS", 0)
    guessed = solve_smplx_from_smplh(files, "male", wanted)
    assert (solved.v2v_m < 0.9 * guessed.v2v_m).all()
    assert solved.v2v_m.max() < 0.005


def test_solution_does_not_depend_on_the_other_frames(files: BodyFiles) -> None:
    wanted = natural_bodies(3)
    together = solve_smplx_from_smplh(files, "neutral", wanted)
    row = {f.name: getattr(wanted, f.name)[1:2] for f in dataclasses.fields(wanted)}
    alone = solve_smplx_from_smplh(files, "neutral", SmplhParameters(**row))
    np.testing.assert_allclose(
        alone.parameters.body_pose[0], together.parameters.body_pose[1], atol=2e-3
    )
    np.testing.assert_allclose(alone.v2v_m[0], together.v2v_m[1], atol=1e-5)


def test_no_frames_give_an_empty_solution(files: BodyFiles) -> None:
    empty = SmplhParameters(*(np.zeros((0, size)) for size in (10, 3, 63, 3)))
    solution = solve_smplx_from_smplh(files, "male", empty)
    assert solution.parameters.betas.shape == (0, 10)
    assert solution.v2v_m.shape == (0,)


def test_curvature_is_the_gauss_newton_matrix_of_rigid_blending(files: BodyFiles) -> None:
    """Against finite differences of the body without pose correctives."""
    body = load_smplx(files, "male", torch.float64)
    ids = torch.arange(0, 10475, 997)
    kernel = body.skinning.subset(ids).kernel
    still = dataclasses.replace(
        kernel.correctives, blocks=tuple(torch.zeros_like(block) for block in kernel.correctives.blocks)
    )
    skinning = dataclasses.replace(
        body.skinning.subset(ids), kernel=dataclasses.replace(kernel, correctives=still)
    )
    generator = torch.Generator().manual_seed(0)
    base = 0.3 * torch.randn(1, 55, 3, generator=generator, dtype=torch.float64)
    shape = torch.randn(1, 20, generator=generator, dtype=torch.float64)

    def vertices(step: torch.Tensor):
        coefficients = step[:, 69:].unflatten(1, (2, 12))
        hands = torch.einsum("fsk,skp->fsp", coefficients, curvature.hand_components)
        fingers = base[:, 25:] + hands.reshape(1, 30, 3)
        rotmats = rotvec_to_rotmat(torch.cat([base[:, :25], fingers], dim=1))
        turned = rotvec_to_rotmat(step[:, :66].unflatten(1, (22, 3))) @ rotmats[:, :22]
        rotmats = torch.cat([turned, rotmats[:, 22:]], dim=1)
        rest = skinning.rest_joints(shape)
        rotation, places = forward_kinematics(rotmats, rest, skinning.parents)
        offset = skinning_offset(rotation, places, rest)
        posed = skinning.vertices(shape, rotmats, rotation, offset) + step[:, None, 66:69]
        return posed, (rotation, places, offset)

    curvature = PoseCurvature.build(body, ids)
    zero = torch.zeros(1, 93, dtype=torch.float64)
    _, (rotation, places, offset) = vertices(zero)
    ours = curvature.matrix(shape, rotation, places, offset, base[:, 25:])[0]
    small = 1e-5
    columns = []
    for k in range(93):
        ahead, behind = zero.clone(), zero.clone()
        ahead[0, k] += small
        behind[0, k] -= small
        columns.append(((vertices(ahead)[0] - vertices(behind)[0]) / (2 * small)).flatten())
    jacobian = torch.stack(columns, dim=1)
    expected = 2 / len(ids) * jacobian.T @ jacobian
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


def test_left_jacobian_is_the_derivative_of_the_exponential() -> None:
    rng = np.random.default_rng(0)
    for rotvec in (rng.standard_normal(3), np.zeros(3), np.array([3.0, 0.2, 0.1])):
        jacobian = left_jacobian(torch.tensor(rotvec)).numpy()
        for axis in np.eye(3) * 1e-6:
            turned = Rotation.from_rotvec(rotvec + axis) * Rotation.from_rotvec(rotvec).inv()
            np.testing.assert_allclose(jacobian @ axis, turned.as_rotvec(), atol=1e-11)

from __future__ import annotations

import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch
from smplx.utils import Struct

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPLX_PARENTS
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.smplx_model import create_smplx
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.rotations import rotvec_to_rotmat

NAMES = ("betas", "global_orient", "body_pose", "transl")


def smplh_reference(path: Path, frames: int) -> smplx.SMPLH:
    """smplx's own SMPL+H with 16 betas and flat hands, loaded the way HuMoR does."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    # Without this padding smplx caps the betas at 10.
    arrays["shapedirs"] = np.concatenate([arrays["shapedirs"], np.zeros((6890, 3, 284))], axis=2)
    for side in "lr":
        arrays[f"hands_components{side}"] = np.zeros((45, 45))
        arrays[f"hands_mean{side}"] = np.zeros(45)
    return smplx.SMPLH(
        str(path),
        data_struct=Struct(**arrays),
        num_betas=16,
        use_pca=False,
        flat_hand_mean=True,
        batch_size=frames,
        dtype=torch.float64,
    )


def smplh_parameters(smplx_parameters, frames: int, betas: int = 16, dtype=torch.float64):
    drawn = smplx_parameters(frames, dtype)
    generator = torch.Generator().manual_seed(5)
    shape = torch.randn(frames, betas, generator=generator, dtype=torch.float64).to(dtype)
    return {"betas": shape, **{name: drawn[name] for name in NAMES[1:]}}


def test_smplh_with_22_joints_is_smplx_smplh_with_52(files: BodyFiles, smplx_parameters) -> None:
    body = load_smplh(files, "female", num_betas=16, dtype=torch.float64)
    reference = smplh_reference(files.smplh("female"), 3)
    parameters = smplh_parameters(smplx_parameters, 3)
    hands = {f"{side}_hand_pose": torch.zeros(3, 45).double() for side in ("left", "right")}
    with torch.no_grad():
        expected = reference(**parameters, **hands)
        ours = body(**parameters)
    assert ours.joints.shape == (3, 73, 3)
    # smplx rounds shape directions to float32 on loading.
    torch.testing.assert_close(ours.vertices, expected.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.joints, expected.joints, atol=1e-6, rtol=0)


def test_more_than_ten_betas_count(files: BodyFiles) -> None:
    """smplx silently caps a 16-beta file at 10; ours must not."""
    body = load_smplh(files, "male", num_betas=16)
    betas = torch.zeros(1, 16)
    still = [torch.zeros(1, size) for size in (3, 63, 3)]
    mean = body(betas, *still).vertices
    betas[0, 15] = 3.0
    assert (body(betas, *still).vertices - mean).norm(dim=-1).max() > 1e-4


def test_more_betas_than_the_file_has_are_refused(files: BodyFiles) -> None:
    with pytest.raises(DataInvalid, match="too few shape directions"):
        load_smplh(files, "male", num_betas=17)


def test_smplh_joints_alone_are_those_of_the_whole_body(files: BodyFiles, smplx_parameters) -> None:
    body = load_smplh(files, "neutral", dtype=torch.float64)
    parameters = smplh_parameters(smplx_parameters, 4, betas=10)
    mesh = body(**parameters)
    torch.testing.assert_close(body.joints(**parameters), mesh.joints[:, :22], atol=1e-12, rtol=0)
    pelvis = parameters["transl"] + body.rest_pelvis(parameters["betas"])
    torch.testing.assert_close(mesh.joints[:, 0], pelvis, atol=1e-12, rtol=0)


def test_smplh_takes_rotation_matrices(files: BodyFiles, smplx_parameters) -> None:
    body = load_smplh(files, "neutral", dtype=torch.float64)
    p = smplh_parameters(smplx_parameters, 2, betas=10)
    rotvecs = torch.cat([p["global_orient"], p["body_pose"]], dim=1).unflatten(1, (22, 3))
    rotmats = rotvec_to_rotmat(rotvecs)
    mesh = body.from_rotmats(p["betas"], rotmats, p["transl"])
    torch.testing.assert_close(mesh.vertices, body(**p).vertices)
    torch.testing.assert_close(
        body.joints_from_rotmats(p["betas"], rotmats, p["transl"]), mesh.joints[:, :22]
    )


def test_smplh_subset_returns_its_vertices_and_all_joints(files: BodyFiles, smplx_parameters) -> None:
    body = load_smplh(files, "neutral", dtype=torch.float64)
    parameters = smplh_parameters(smplx_parameters, 2, betas=10)
    ids = torch.tensor([6889, 0, 17])
    whole, some = body(**parameters), body.subset(ids)(**parameters)
    torch.testing.assert_close(some.vertices, whole.vertices[:, ids], atol=1e-12, rtol=0)
    torch.testing.assert_close(some.joints, whole.joints, atol=1e-12, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_smplx_body_is_the_package_at_any_batch_size(
    files: BodyFiles, smplx_parameters, frames: int
) -> None:
    """The package built for one batch size fails on others unless every parameter is given."""
    body = load_smplx(files, "male", dtype=torch.float64)
    reference = create_smplx(files.smplx("male"), "male", torch.float64)
    parameters = smplx_parameters(frames)
    with torch.no_grad():
        expected = reference(**parameters)
        ours = body(**parameters)
    assert ours.vertices.shape == (frames, 10475, 3)
    assert ours.joints.shape == (frames, 127, 3)
    torch.testing.assert_close(ours.vertices, expected.vertices, atol=1e-9, rtol=0)
    torch.testing.assert_close(ours.joints, expected.joints, atol=1e-9, rtol=0)


def test_smplx_gradient_is_that_of_the_package(files: BodyFiles, smplx_parameters) -> None:
    body = load_smplx(files, "male", dtype=torch.float64)
    reference = create_smplx(files.smplx("male"), "male", torch.float64)
    gradients = []
    for function in (body, reference):
        parameters = {name: p.requires_grad_() for name, p in smplx_parameters(2).items()}
        mesh = function(**parameters)
        (mesh.vertices.square().sum() + mesh.joints.pow(3).sum()).backward()
        gradients.append({name: p.grad for name, p in parameters.items()})
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, atol=1e-7, rtol=1e-9, msg=name)


def test_hand_mean_is_added_to_the_pca_pose(files: BodyFiles, smplx_parameters) -> None:
    """PROX's hands: 12 components and the mean. Zero components are a relaxed hand, not a flat one."""
    body = load_smplx(files, "neutral", dtype=torch.float64)
    parameters = {name: torch.zeros_like(p) for name, p in smplx_parameters(1).items()}
    relaxed = body(**parameters).vertices
    flat = dataclasses.replace(body, left_hand_mean=torch.zeros_like(body.left_hand_mean))
    moved = (flat(**parameters).vertices - relaxed).norm(dim=-1)[0]
    assert moved.max() > 0.02
    parameters["left_hand_pose"][0, 11] = 1.0
    assert (body(**parameters).vertices - relaxed).abs().max() > 1e-3


def test_the_root_turns_about_the_pelvis_not_the_origin(files: BodyFiles) -> None:
    body = load_smplh(files, "neutral", dtype=torch.float64)
    betas = torch.ones(1, 10).double()
    turned = body.joints(
        betas,
        torch.tensor([[0.0, 2.0, 0.0]]).double(),
        torch.zeros(1, 63).double(),
        torch.zeros(1, 3).double(),
    )
    pelvis = body.rest_pelvis(betas)
    torch.testing.assert_close(turned[:, 0], pelvis)
    assert pelvis.norm() > 0.1


def test_the_genders_differ(files: BodyFiles) -> None:
    heights = {}
    for gender in ("neutral", "male", "female"):
        template = load_smplh(files, gender).skinning.template
        heights[gender] = float(template[:, 1].max() - template[:, 1].min())
    assert heights["male"] > heights["neutral"] + 0.05 > heights["female"] + 0.1


def test_loading_prints_nothing(files: BodyFiles, capfd: pytest.CaptureFixture[str]) -> None:
    create_smplx(files.smplx("female"), "female", torch.float32)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_the_same_request_returns_the_same_body(files: BodyFiles) -> None:
    assert load_smplh(files, "male") is load_smplh(files, "male", 10)


def test_licensed_smplx_with_pickled_members_and_sparse_regressor_loads(
    files: BodyFiles, tmp_path: Path, smplx_parameters
) -> None:
    """Some releases hold joint2num (a dict) and a scipy J_regressor; neither may be unpickled freely."""
    with np.load(files.smplx("male")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    sparse = np.empty((), dtype=object)
    sparse[()] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    arrays |= {"J_regressor": sparse, "joint2num": np.array({"pelvis": 0}), "extra": np.array([None])}
    arrays["f"] = arrays["f"].astype(np.float64)
    (tmp_path / "smplx").mkdir()
    np.savez(tmp_path / "smplx" / "SMPLX_MALE.npz", **arrays)
    parameters = smplx_parameters(2, torch.float32)
    ours = load_smplx(BodyFiles(tmp_path, is_standin=False), "male")(**parameters)
    expected = load_smplx(files, "male")(**parameters)
    torch.testing.assert_close(ours.vertices, expected.vertices, atol=1e-6, rtol=0)


def test_smplh_pickle_with_sparse_regressor_loads(files: BodyFiles, tmp_path: Path) -> None:
    with np.load(files.smplh("male")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    (tmp_path / "smplh").mkdir()
    path = tmp_path / "smplh" / "SMPLH_MALE.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    still = [torch.zeros(1, size) for size in (10, 3, 63, 3)]
    ours = load_smplh(BodyFiles(tmp_path, is_standin=False), "male")(*still)
    torch.testing.assert_close(ours.vertices, load_smplh(files, "male")(*still).vertices)
    arrays.pop("posedirs")
    path = tmp_path / "smplh" / "SMPLH_FEMALE.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    with pytest.raises(DataInvalid, match=r"(?s)lacks posedirs.*SMPLH_FEMALE\.pkl"):
        load_smplh(BodyFiles(tmp_path, is_standin=False), "female")


def test_a_pickle_with_code_is_refused(files: BodyFiles, tmp_path: Path) -> None:
    with np.load(files.smplx("male")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    bomb = np.empty((), dtype=object)
    bomb[()] = Path("harmless")  # any class stands for code here
    arrays["J_regressor"] = bomb
    (tmp_path / "smplx").mkdir()
    np.savez(tmp_path / "smplx" / "SMPLX_MALE.npz", **arrays)
    with pytest.raises(DataInvalid, match="more than data"):
        load_smplx(BodyFiles(tmp_path, is_standin=False), "male")


def test_smplh_given_for_smplx_is_refused(files: BodyFiles, tmp_path: Path) -> None:
    (tmp_path / "smplx").mkdir()
    shutil.copy(files.smplh("male"), tmp_path / "smplx" / "SMPLX_MALE.npz")
    with pytest.raises(DataInvalid, match="SMPLX_MALE"):
        load_smplx(BodyFiles(tmp_path, is_standin=False), "male")


def test_smplx_given_for_smplh_is_refused(files: BodyFiles, tmp_path: Path) -> None:
    (tmp_path / "smplh" / "male").mkdir(parents=True)
    shutil.copy(files.smplx("male"), tmp_path / "smplh" / "male" / "model.npz")
    with pytest.raises(DataInvalid, match="not a SMPL\\+H file"):
        load_smplh(BodyFiles(tmp_path, is_standin=False), "male")


def test_missing_model_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"(?s)model\.npz.*mano\.is\.tue\.mpg\.de"):
        load_smplh(BodyFiles(tmp_path, is_standin=False), "neutral")


def test_smplx_tree_is_the_known_one(files: BodyFiles) -> None:
    assert load_smplx(files, "neutral").skinning.parents == SMPLX_PARENTS

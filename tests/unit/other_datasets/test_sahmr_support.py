"""SA-HMR's support folders: samples, truth, scenes; and the official protocol computed twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from scipy.ndimage import map_coordinates

from pipelines.bodies.files import BodyFiles
from pipelines.config import load_settings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.other_datasets.sahmr_support.files import box_of, read_objects, tail_after, tail_of
from pipelines.other_datasets.sahmr_support.prox import ProxSupport
from pipelines.other_datasets.sahmr_support.rich import RichSupport
from pipelines.other_trees.rich import SEQUENCES, people_of
from pipelines.safe_pickle import load_pickle
from sahmr.evaluation import evaluate as evaluation_module
from sahmr.evaluation.body_errors import body_errors, scene_fit
from sahmr.evaluation.load_rows import LoadedRow
from sahmr.evaluation.plan import plan_evaluation
from sahmr.evaluation.rows import FittedRow
from sahmr.evaluation.sample_errors import read_sample_errors
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.support_samples import open_support
from sahmr.evaluation.table import Evaluation, RowDescription

YOGA = "Pavallion_013_yoga2"


def smplh_of(files: BodyFiles, mesh: Path) -> np.ndarray:
    """By the page: the first 10475 columns of the transfer file times the mesh of the file."""
    matrix = load_pickle(files.transfer)["mtx"].toarray()[:, :10475]
    return matrix @ np.asarray(trimesh.load(mesh, process=False).vertices)


def sdf_by_scipy(box: Path, values: Path, points: np.ndarray) -> np.ndarray:
    content = json.loads(box.read_text())
    low, high, dim = np.array(content["min"]), np.array(content["max"]), content["dim"]
    grid = np.load(values).reshape(dim, dim, dim)
    index = (points - low) / (high - low) * (dim - 1)
    return map_coordinates(grid.astype(float), index.T, order=1, mode="nearest")


def official(
    prediction: np.ndarray,
    truth: np.ndarray,
    regressor: np.ndarray,
    sdf: np.ndarray,
    contact: np.ndarray,
) -> dict[str, float]:
    """G-MPJPE, G-MPVE, MPJPE, MPVE (m), PenE, ConFE (m x vertices), written out from the page."""
    joints, true = regressor @ prediction, regressor @ truth
    chosen = [3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10]
    shift = true[0] - joints[0]

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum(axis=1)).mean())

    inside = np.where(sdf < 0, np.abs(sdf), 0)
    return {
        "g_mpjpe_v1": mean(joints[chosen], true[chosen]),
        "g_mpve_v1": mean(prediction, truth),
        "mpjpe_v1": mean(joints[chosen] + shift, true[chosen]),
        "mpve_v1": mean(prediction + shift, truth),
        "pene": float(inside.sum()),
        "confe": float(np.abs(sdf[contact]).sum() + inside[~contact].sum()),
    }


def perturbed(truth: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(5)
    turned = (truth - truth.mean(0)) @ cv2.Rodrigues(np.array([0.05, -0.1, 0.08]))[0] + truth.mean(0)
    return turned + [0.05, -0.12, 0.03] + 0.01 * rng.standard_normal(truth.shape)


def test_the_official_protocol_on_the_rich_test_split(
    rich_support: RichSupport, files: BodyFiles
) -> None:
    regressor = np.load(files.h36m)
    samples = rich_support.samples("test")
    assert [sample.key for sample in samples] == [f"{YOGA}_00048_013_{camera:02d}" for camera in (0, 3)]
    for sample in samples:
        truth, contact = rich_support.truth_world(sample), rich_support.contact(sample)
        down = truth[contact].mean(axis=0) - truth.mean(axis=0)  # towards the soles
        prediction = perturbed(truth) + 0.2 * down / np.linalg.norm(down)
        found = body_errors(prediction, truth, regressor, contact)
        points = torch.as_tensor(prediction, dtype=torch.float32)
        sdf = rich_support.scene(sample.scene).grid.sample(points).numpy()
        found |= {"confe": scene_fit(sdf, contact), "pene": scene_fit(sdf, np.zeros(6890, bool))}
        scene = rich_support.root / "scene_info" / "Pavallion"
        stem = "scan_yoga_scene_camcoord_mysdf"
        expected = official(
            prediction,
            smplh_of(files, rich_support.root / "test_split/gt_smplx_mesh" / f"{sample.key}.ply"),
            regressor,
            sdf_by_scipy(scene / f"{stem}.json", scene / f"{stem}.npy", prediction),
            contact,
        )
        assert expected["confe"] > expected["pene"] > 0
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_the_official_protocol_on_prox_quantitative(prox_support: ProxSupport, files: BodyFiles) -> None:
    regressor = np.load(files.h36m)
    samples = prox_support.samples()
    assert len(samples) == 7  # two of nine MoSH fits are spoilt
    sample = samples[0]
    truth = prox_support.truth_world(sample)
    pose = np.array(
        json.loads((prox_support.root / "vicon/calibration/cam2world_vicon.json").read_text())
    )
    mesh = prox_support.root / f"gt_mosh_mesh/vicon_03301_01/results/{sample.frame}/000.ply"
    world = smplh_of(files, mesh) @ pose[:3, :3].T + pose[:3, 3]
    prediction = perturbed(truth)
    contact = prox_support.contact(sample)
    found = body_errors(prediction, truth, regressor, contact)
    sdf = prox_support.scene.grid.sample(torch.as_tensor(prediction, dtype=torch.float32)).numpy()
    found |= {"confe": scene_fit(sdf, contact), "pene": scene_fit(sdf, contact)}
    folder = prox_support.root / "vicon"
    by_scipy = sdf_by_scipy(folder / "vicon.json", folder / "vicon_sdf.npy", prediction)
    expected = official(prediction, world, regressor, by_scipy, contact)
    assert expected["confe"] == expected["pene"]  # no vertex counts as touching
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_crops_show_the_person_in_their_middle(rich_support: RichSupport) -> None:
    for sample in rich_support.samples("test"):
        image = rich_support.image(sample)
        assert image.shape == (224, 224, 3)
        left, up, right, bottom = sample.box_px
        assert right - left == pytest.approx(bottom - up)
        rows, columns = np.nonzero(np.abs(image.astype(int) - [217, 153, 128]).max(axis=2) < 12)
        assert abs((rows.min() + rows.max()) / 2 - 111.5) < 4
        assert abs((columns.min() + columns.max()) / 2 - 111.5) < 4


def test_meshes_lie_under_the_crop_by_full_size_intrinsics(rich_support: RichSupport) -> None:
    for sample in rich_support.samples("test"):
        world = rich_support.truth_world(sample)
        T = np.linalg.inv(sample.T_world_from_camera)
        camera = world @ T[:3, :3].T + T[:3, 3]
        pixels = (camera @ sample.K.T)[:, :2] / camera[:, 2:]
        left, up, right, _ = sample.box_px
        inside = (pixels - [left, up]) * 223 / (right - left)
        column, row = np.rint(inside).astype(int).T
        skin = np.abs(rich_support.image(sample).astype(int) - [217, 153, 128]).max(axis=2) < 40
        assert skin[row, column].mean() > 0.85


def test_packed_contact_is_the_persons(rich_support: RichSupport, files: BodyFiles) -> None:
    sample = rich_support.samples("test")[0]
    assert sample.contact is not None
    assert np.load(sample.contact).shape == (862,)
    true = people_of(SEQUENCES[1], files)[0].contact[0]
    assert np.array_equal(rich_support.contact(sample), true)


def test_train_is_thinned_by_the_official_rule_and_finds_its_files(rich_support: RichSupport) -> None:
    samples = rich_support.samples("train")
    assert [(sample.frame, sample.key[-2:]) for sample in samples] == [("00060", "00"), ("00059", "01")]
    sample = samples[0]
    assert rich_support.image(sample).shape == (752, 1028, 3)
    assert sample.image_size_px == (4112, 3008)  # K and boxes stay at full size
    assert not sample.is_square
    assert rich_support.parameters(sample)["betas"].shape == (16,)
    assert rich_support.contact(sample).any()
    with pytest.raises(DataMissing, match="only test samples have meshes"):
        rich_support.truth_world(sample)


def test_scenes_come_as_voxels_and_grid(rich_support: RichSupport, prox_support: ProxSupport) -> None:
    for scene in (rich_support.scene("ParkingLot1_scan_camcoord"), prox_support.scene):
        assert scene.pitch_m == pytest.approx(0.05)
        distance = scene.grid.sample(torch.as_tensor(scene.points_world, dtype=torch.float32))
        assert distance.abs().median() < 0.06
    with pytest.raises(DataMissing, match="no scene Gym_scan_camcoord"):
        rich_support.scene("Gym_scan_camcoord")


def test_prox_images_are_unmirrored_and_boxes_belong_to_them(prox_support: ProxSupport) -> None:
    sample = prox_support.samples()[0]
    stored = cv2.imread(str(sample.image))[..., ::-1]
    assert np.array_equal(prox_support.image(sample), stored[:, ::-1])
    world = prox_support.truth_world(sample)
    T = np.linalg.inv(sample.T_world_from_camera)
    camera = world @ T[:3, :3].T + T[:3, 3]
    pixels = (camera @ sample.K.T)[:, :2] / camera[:, 2:]
    assert np.abs(pixels.min(axis=0) - sample.box_px[:2]).max() < 3
    assert np.abs(pixels.max(axis=0) - sample.box_px[2:]).max() < 3
    assert (sample.gender, sample.scene, sample.contact) == ("male", "vicon", None)


def test_foreign_paths_are_cut() -> None:
    assert tail_of("/home/x/images_ds4/train/seq/cam_00/00060_00.jpeg", 3) == Path(
        "seq/cam_00/00060_00.jpeg"
    )
    assert tail_of("D:\\data\\seq\\cam_00\\1.jpeg", 3) == Path("seq/cam_00/1.jpeg")
    assert tail_after("/mosh/a/mosh/rec/results/f/000.pkl", "mosh") == Path("rec/results/f/000.pkl")
    with pytest.raises(DataInvalid, match="not understood"):
        tail_after("/a/b", "mosh")


def test_broken_files_are_refused(rich_support: RichSupport, files: BodyFiles, tmp_path: Path) -> None:
    root = Path(shutil.copytree(rich_support.root.parent, tmp_path / "copy"))
    support = RichSupport(root, files)
    sample = support.samples("test")[0]
    assert sample.contact is not None
    np.save(sample.contact, np.zeros(861, np.uint8))
    with pytest.raises(DataInvalid, match="contact labels are wrong"):
        support.contact(sample)
    (support.root / "scene_info/Pavallion/calibration/003.xml").unlink()
    with pytest.raises(DataMissing, match="no calibration of camera Pavallion_3"):
        RichSupport(root, files).samples("test")
    meta = next((support.root / "test_split/meta").glob("*.npy"))
    meta.rename(meta.with_name("other.npy"))
    with pytest.raises(DataMissing, match="meta data of the test split not found"):
        support.samples("test")
    with pytest.raises(DataInvalid, match="box is wrong"):
        box_of([3, 3, 1, 1], "test")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(DataInvalid, match="npy cannot be read"):
        read_objects(tmp_path / "text.npy")


@pytest.mark.parametrize("content", [[[1, 0], [0]], [[1, 0, 0, 0]] * 4, "none"])
def test_a_pose_that_is_none_is_refused(
    prox_support: ProxSupport, files: BodyFiles, tmp_path: Path, content: Any
) -> None:
    ignored = shutil.ignore_patterns("image", "gt_mosh_mesh")
    root = Path(shutil.copytree(prox_support.root, tmp_path / "copy", ignore=ignored))
    (root / "vicon/calibration/cam2world_vicon.json").write_text(json.dumps(content))
    with pytest.raises(DataInvalid, match="cam2world is not a rigid transform"):
        ProxSupport(root, files).samples()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("boom",))


def test_an_object_array_with_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test1.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(DataInvalid, match="more than data"):
        read_objects(path)


def test_the_other_support_folder_is_refused(
    rich_support: RichSupport, prox_support: ProxSupport, files: BodyFiles
) -> None:
    with pytest.raises(DataMissing, match="a tree of SA-HMR support for PROX"):
        RichSupport(prox_support.root, files)
    with pytest.raises(DataMissing, match="a tree of SA-HMR support for RICH"):
        ProxSupport(rich_support.root.parent, files)


def measured(
    support: RichSupport | ProxSupport,
    bodies: dict[str, np.ndarray],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Evaluation, dict[str, np.ndarray]]:
    """`make evaluate samples=support`, where a row says the given bodies (camera frame)."""
    row = LoadedRow(FittedRow(bodies), RowDescription("Given", "a test"), {})
    monkeypatch.setattr(evaluation_module, "load_rows", lambda *_: {"sahmr_8": row})
    settings = EvaluationSettings(
        train=None, samples="support", support=support.root, out_dir=out, pictures=0
    )
    evaluation = evaluation_module.evaluate(settings)
    ids, errors = read_sample_errors(settings.folder / "errors.npz")
    assert list(ids.sample_id) == list(bodies)
    return evaluation, dict(errors["sahmr_8"].values)


def in_camera(world: np.ndarray, T_world_from_camera: np.ndarray) -> np.ndarray:
    return ((world - T_world_from_camera[:3, 3]) @ T_world_from_camera[:3, :3]).astype(np.float32)


def test_the_verb_measures_richs_test_split_as_the_page_says(
    rich_support: RichSupport, files: BodyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every figure of the table against NumPy and SciPy on the folder's files."""
    regressor, root = np.load(files.h36m), rich_support.root
    samples = rich_support.samples("test")
    truths = {s.key: smplh_of(files, root / f"test_split/gt_smplx_mesh/{s.key}.ply") for s in samples}
    said = {key: perturbed(truth) - [0, 0.02, 0] for key, truth in truths.items()}
    bodies = {s.key: in_camera(said[s.key], s.T_world_from_camera) for s in samples}
    evaluation, errors = measured(rich_support, bodies, tmp_path, monkeypatch)
    stem = root / "scene_info/Pavallion/scan_yoga_scene_camcoord_mysdf"
    packed = np.load(root / "test_split/contact/Pavallion_013_yoga2/00048/013.npy")
    contact = np.unpackbits(packed, count=6890).astype(bool)
    grid = stem.with_suffix(".json"), stem.with_suffix(".npy")
    expected = [
        official(said[key], truth, regressor, sdf_by_scipy(*grid, said[key]), contact)
        for key, truth in truths.items()
    ]
    for name, value in expected[0].items():
        key = f"{name}_v1" if name in ("pene", "confe") else name
        mean = np.mean([one[name] for one in expected])
        assert errors[key][0] == pytest.approx(value, rel=1e-4, abs=1e-5), name
        scale = 1 if name in ("pene", "confe") else 1000
        cell = evaluation.table.cell("sahmr_8", key)
        assert cell is not None
        assert cell.value == pytest.approx(mean * scale, rel=1e-4, abs=1e-3), name
    own = sdf_by_scipy(*grid, truths[samples[0].key])
    true_cell = evaluation.table.cell("dataset_gt", "confe_v1")
    assert true_cell is not None
    inside = np.where(own < 0, -own, 0)
    by_hand = np.abs(own[contact]).sum() + inside[~contact].sum()
    assert true_cell.value == pytest.approx(by_hand, rel=1e-3, abs=1e-3)  # both cameras see one body
    assert evaluation.table.provenance["data_set"] == "RICH test, SA-HMR's samples"
    report = (tmp_path / "rows-support/evaluation.md").read_text()
    assert "| *SA-HMR-8* | *paper, RICH* | *264.6* |" in report


def test_the_verb_measures_prox_quantitative_without_contact(
    prox_support: ProxSupport, files: BodyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regressor, folder = np.load(files.h36m), prox_support.root / "vicon"
    pose = np.array(json.loads((folder / "calibration/cam2world_vicon.json").read_text()))
    samples = prox_support.samples()
    truths, bodies, said = {}, {}, {}
    for sample in samples:
        mesh = prox_support.root / f"gt_mosh_mesh/vicon_03301_01/results/{sample.frame}/000.ply"
        truths[sample.key] = smplh_of(files, mesh) @ pose[:3, :3].T + pose[:3, 3]
        said[sample.key] = perturbed(truths[sample.key])
        bodies[sample.key] = in_camera(said[sample.key], pose)
    evaluation, errors = measured(prox_support, bodies, tmp_path, monkeypatch)
    free = np.zeros(6890, dtype=bool)
    for row, key in enumerate(truths):
        sdf = sdf_by_scipy(folder / "vicon.json", folder / "vicon_sdf.npy", said[key])
        expected = official(said[key], truths[key], regressor, sdf, free)
        for name, value in expected.items():
            key_of = f"{name}_v1" if name in ("pene", "confe") else name
            assert errors[key_of][row] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert np.array_equal(errors["pene_v1"], errors["confe_v1"])
    report = (tmp_path / "rows-support/evaluation.md").read_text()
    assert "paper, RICH" not in report
    assert "figures on this data set are not known" in report
    assert evaluation.table.data.num_frames == 7


def test_a_support_folder_is_asked_for_and_recognised(rich_support: RichSupport, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"not given[\s\S]*support="):
        evaluation_module.require_inputs(EvaluationSettings(samples="support"))
    with pytest.raises(DataMissing, match="not a support folder of SA-HMR"):
        open_support(tmp_path, rich_support.body_files)


def test_a_plan_counts_the_support_folders_samples(
    rich_support: RichSupport, prox_support: ProxSupport, tmp_path: Path
) -> None:
    weights = tmp_path / "sahmr.ckpt"
    weights.write_bytes(b"looked for, not read")
    for support, expected in ((rich_support, len(rich_support.samples("test"))), (prox_support, 7)):
        settings = EvaluationSettings(
            train=None, rows={"sahmr_8": weights}, samples="support", support=support.root
        )
        assert [stage.amount for stage in plan_evaluation(settings).stages] == [expected] * 2


@pytest.mark.parametrize(
    "idle", ["shards=outputs/shards", "split=train", "grids=prox", "pseudo_gt=outputs/shards"]
)
def test_what_support_samples_bring_themselves_cannot_be_set(idle: str) -> None:
    given = ["samples=support", "support=folder", idle]
    with pytest.raises(SettingsInvalid, match=rf"leave out {idle.split('=')[0]}"):
        load_settings(EvaluationSettings, None, given)

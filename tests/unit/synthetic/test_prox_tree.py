from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.joints import BODY25_FROM_SMPLX
from pipelines.bodies.model import load_smplx
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import rigid
from pipelines.records import SyntheticTruth
from pipelines.synthetic.actor import PosedBody, pose
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings, synthetic_preset
from pipelines.synthetic.prox_tree import write_prox_tree
from pipelines.synthetic.scenery import frame_names, prepare
from pipelines.synthetic.truth import read_truth

FRAMES = 5


def tiny_settings(**changes: object) -> SyntheticSettings:
    tiny = synthetic_preset("tiny")
    spec = tiny.recordings[0].model_copy(update={"num_frames": FRAMES})
    return tiny.model_copy(update={"recordings": (spec,), "sdf_size": 32, **changes})


@dataclass(frozen=True)
class Tree:
    root: Path
    base: Path
    truth_root: Path
    recording: str
    truth: SyntheticTruth
    body: PosedBody
    faces: np.ndarray

    def image(self, folder: str, frame: int, suffix: str) -> np.ndarray:
        """A stored image, un-mirrored."""
        name = f"{self.truth.frame_names[frame]}{suffix}"
        path = self.base / "recordings" / self.recording / folder / name
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return image[:, ::-1]

    def camera(self, name: str) -> RigCamera:
        content = json.loads((self.base / "calibration" / f"{name}.json").read_text())
        view = np.array(content["view_mtx"])
        size = (1920, 1080) if name == "Color" else (512, 424)
        T = rigid(view[:, :3], view[:, 3])
        return RigCamera(np.array(content["camera_mtx"]), np.array(content["k"]), T, *size)


@pytest.fixture(scope="module")
def files() -> BodyFiles:
    return resolve_body_files(None)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, files: BodyFiles) -> Tree:
    root = tmp_path_factory.mktemp("tree")
    settings = tiny_settings()
    report = write_prox_tree(root / "prox", root / "truth", settings, files)
    assert report.written == report.recordings
    recording = settings.recordings[0].name
    truth = read_truth(root / "truth", recording)
    body = load_smplx(files, truth.gender)
    return Tree(
        root / "prox",
        root / "prox" / "qualitative",
        root / "truth",
        recording,
        truth,
        pose(body, truth.parameters),
        body.faces.numpy(),
    )


def test_layout_is_that_of_prox(tree: Tree) -> None:
    scene = tree.recording.split("_")[0]
    for name in (
        "calibration/Color.json",
        "calibration/IR.json",
        f"cam2world/{scene}.json",
        f"scenes/{scene}.ply",
        f"sdf/{scene}.json",
        f"sdf/{scene}_sdf.npy",
        "body_segments/L_Leg.json",
        "body_segments/body_mask.json",
    ):
        assert (tree.base / name).is_file(), name
    folder = tree.base / "recordings" / tree.recording
    for kind, suffix in (
        ("Color", ".jpg"),
        ("Depth", ".png"),
        ("BodyIndex", ".png"),
        ("BodyIndexColor", ".png"),
        ("Skeleton", ".json"),
    ):
        stems = sorted(path.name.removesuffix(suffix) for path in (folder / kind).iterdir())
        assert tuple(stems) == tree.truth.frame_names
    assert len(list((tree.base / "keypoints" / tree.recording).iterdir())) == FRAMES
    assert not (tree.base / "PROXD").exists()


def test_truth_lies_outside_the_prox_root(tree: Tree) -> None:
    assert not tree.truth_root.is_relative_to(tree.root)
    assert not list(tree.root.rglob("*.npz"))


def test_image_formats(tree: Tree) -> None:
    assert tree.image("Color", 0, ".jpg").shape == (1080, 1920, 3)
    depth = tree.image("Depth", 0, ".png")
    assert depth.dtype == np.uint16
    assert depth.shape == (424, 512)
    for folder, shape in (("BodyIndex", (424, 512)), ("BodyIndexColor", (1080, 1920))):
        mask = tree.image(folder, 0, ".png")
        assert mask.shape == shape
        assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(("folder", "camera"), [("BodyIndexColor", "Color"), ("BodyIndex", "IR")])
def test_person_mask_covers_the_projected_body_after_un_mirroring(
    tree: Tree, folder: str, camera: str
) -> None:
    seen = tree.camera(camera)
    in_rig = tree.camera("Color").points_to_rig(tree.body.vertices[2].astype(np.float64))
    pixels = np.round(seen.project(in_rig)).astype(int)
    mask = tree.image(folder, 2, ".png") == 0
    inside = mask[pixels[:, 1], pixels[:, 0]]
    assert inside.mean() > 0.9
    mirrored = mask[:, ::-1][pixels[:, 1], pixels[:, 0]]
    assert mirrored.mean() < 0.7
    silhouette = np.zeros(mask.shape, np.uint8)
    for face in tree.faces:
        cv2.fillConvexPoly(silhouette, pixels[face].astype(np.int32), 1)
    overlap = (mask & (silhouette > 0)).sum() / (mask | (silhouette > 0)).sum()
    assert overlap > 0.9


def test_depth_of_the_person_lies_on_the_body(tree: Tree) -> None:
    color, infrared = tree.camera("Color"), tree.camera("IR")
    mesh = trimesh.Trimesh(tree.body.vertices[1], tree.faces, process=False)
    surface, _ = trimesh.sample.sample_surface(mesh, 60_000, seed=0)
    depth = tree.image("Depth", 1, ".png").astype(float) / 8000
    mask = (tree.image("BodyIndex", 1, ".png") == 0) & (depth > 0)
    rows, columns = np.nonzero(mask)
    rays = infrared.rays(np.stack([columns, rows], axis=1).astype(float))
    in_rig = infrared.points_to_rig(rays * depth[mask][:, None])
    T = color.T_camera_from_rig
    points = in_rig @ T[:3, :3].T + T[:3, 3]
    distance, _ = cKDTree(np.asarray(surface)).query(points)
    assert np.median(distance) < 0.01
    assert (distance > 0.05).mean() < 0.05


def test_keypoints_fit_the_true_joints_projected_without_distortion(tree: Tree) -> None:
    K = tree.camera("Color").K
    joints = tree.body.joints[:, list(BODY25_FROM_SMPLX)].astype(float)
    expected = joints[..., :2] / joints[..., 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
    for frame, name in enumerate(tree.truth.frame_names):
        path = tree.base / "keypoints" / tree.recording / f"{name}_keypoints.json"
        person = json.loads(path.read_text())["people"][0]
        rows = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
        sure = rows[:, 2] > 0.7
        assert sure.sum() > 8
        error = np.linalg.norm(rows[sure, :2] - expected[frame][sure], axis=1)
        assert np.median(error) < 8


def test_truth_agrees_with_the_scene_files(tree: Tree) -> None:
    scene = tree.recording.split("_")[0]
    pose_file = json.loads((tree.base / "cam2world" / f"{scene}.json").read_text())
    np.testing.assert_allclose(pose_file, tree.truth.T_world_from_camera)
    normal, offset = tree.truth.floor_camera[:3], tree.truth.floor_camera[3]
    height = tree.body.vertices @ normal - offset
    assert height.min() == pytest.approx(0.0, abs=0.01)
    assert tree.truth.person_present.all()
    assert tree.truth.vertex_contact.any(axis=1).all()
    description = json.loads((tree.base / "sdf" / f"{scene}.json").read_text())
    values = np.load(tree.base / "sdf" / f"{scene}_sdf.npy")
    assert description["dim"] == 32
    assert values.size == 32**3
    assert values.dtype == np.float32


def test_a_second_run_writes_nothing(tree: Tree, files: BodyFiles) -> None:
    again = write_prox_tree(tree.root, tree.truth_root, tiny_settings(), files)
    assert again.written == ()


def test_settings_of_the_tree_give_its_bytes(tree: Tree, files: BodyFiles, tmp_path: Path) -> None:
    write_prox_tree(tmp_path / "prox", tmp_path / "truth", tiny_settings(), files)
    first = {p.relative_to(tree.root): p for p in tree.root.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path / "prox"): p for p in (tmp_path / "prox").rglob("*") if p.is_file()}
    assert set(first) == set(second)
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name
    # An earlier version's frames do not stay behind, nor does a recording that is no longer wanted.
    other = RecordingSpec(scene="Other", subject=159, family="sofa_rise", num_frames=4, seed=3)
    settings = tiny_settings(recordings=(other,), keypoints_frame="raw")
    write_prox_tree(tmp_path / "prox", tmp_path / "truth", settings, files)
    left = sorted(p.name for p in (tmp_path / "prox/qualitative/recordings").iterdir())
    assert left == ["Other_00159_01"]
    assert read_truth(tmp_path / "truth", "Other_00159_01").gender == "female"


def test_other_seeds_make_other_rooms_and_people(files: BodyFiles) -> None:
    settings = tiny_settings()
    spec = settings.recordings[0]
    one = prepare(settings, spec, files)
    two = prepare(settings.model_copy(update={"seed": 9}), spec, files)
    assert np.abs(one.truth.parameters.betas - two.truth.parameters.betas).max() > 0.1
    assert np.abs(one.room.T_world_from_camera - two.room.T_world_from_camera).max() > 0.05


def test_frame_names_follow_the_times_seen_in_prox() -> None:
    names = frame_names(172, np.random.default_rng(0))
    assert names[0] == "s001_frame_00001__00.00.00.029"
    assert names[1] == "s001_frame_00002__00.00.00.050"
    assert names[5] == "s001_frame_00006__00.00.00.148"
    assert names[171].startswith("s001_frame_00172__00.00.05.67")
    assert list(names) == sorted(names)
    long = frame_names(3000, np.random.default_rng(0), clip=4)
    assert long[2999].startswith("s004_frame_03000__00.01.")


def test_writing_one_recording_leaves_the_others(tmp_path: Path, files: BodyFiles) -> None:
    first = tiny_settings().recordings[0]
    second = first.model_copy(update={"scene": "OtherRoom", "subject": 145})
    settings = tiny_settings(recordings=(first, second))
    roots = tmp_path / "prox", tmp_path / "truth"
    for spec in (first, second):
        report = write_prox_tree(*roots, settings, files, only=spec.name)
        assert report.recordings == report.written == (spec.name,)
    assert write_prox_tree(*roots, settings, files).written == ()

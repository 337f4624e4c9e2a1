"""Six samples of three recordings: people standing on the floor of two empty rooms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.contact.labels import label_vertices
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import rigid, transform_points
from pipelines.metrics.anatomy import load_anatomy
from pipelines.shards.collection import ShardCollection
from pipelines.shards.schema import ShardSample, ShardScene
from pipelines.shards.writer import ShardSource, shard_path, write_shard
from sahmr.data.batch import BodyParameters
from sahmr.data.contact_table import category_of_fine_vertices
from sahmr.data.dataset import TrainingSamples
from sahmr.data.supervision import SupervisionSettings, load_supervision, pose_bodies
from sahmr.evaluation.measure import Yardstick

RECORDINGS = (("A_00034_01", "A", "00034"), ("A_00159_01", "A", "00159"), ("B_00034_01", "B", "00034"))
SUNK_M = 0.01
"""How deep the lowest vertex of every true body is below the floor."""
# Level camera 1.2 m above the floor z = 0, looking along +y.
T = rigid(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]), np.array([0.0, 0.0, 1.2]))
K = np.array([[1000.0, 0.0, 960.0], [0.0, 1000.0, 540.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="session")
def supervision():
    return load_supervision(resolve_body_files(None), 8, SupervisionSettings(mirrored_maps=False))


@pytest.fixture(scope="session")
def eval_shards(tmp_path_factory, supervision):
    """A folder with one shard and a split that tests everything."""
    folder = tmp_path_factory.mktemp("evaluation") / "shards"
    samples = [_sample(number, supervision) for number in range(6)]
    source = ShardSource("test-00000", "truth", "settings", {"made": "here"})
    write_shard(folder, source, lambda: map(_scene, "AB"), lambda: iter(samples))
    sides = ", ".join(f'"{name}": "test"' for name, _, _ in RECORDINGS)
    (folder / "splits.json").write_text(f'{{"recordings": {{{sides}}}}}')
    return folder


@pytest.fixture
def eval_samples(eval_shards):
    return TrainingSamples(ShardCollection([shard_path(eval_shards, "test-00000")]))


@pytest.fixture(scope="session")
def yardstick(supervision):
    files = resolve_body_files(None)
    return Yardstick(
        pose=lambda batch: pose_bodies(batch.body, supervision.bodies),
        h36m_regressor=load_anatomy(files).h36m_regressor,
        category_of_vertex=category_of_fine_vertices(files, 8, ("L_Hand", "R_Hand")),
        contact_radius_m=0.07,
        grid=lambda scene: floor_grid(),
    )


@pytest.fixture(scope="session")
def floor():
    """The distance grid of a floor z = 0."""
    return floor_grid()


def floor_grid():
    height = torch.linspace(-1, 3, 5).expand(5, 5, 5).contiguous()
    return SdfGrid(height, torch.tensor([-5.0, -5.0, -1.0]), torch.tensor([5.0, 9.0, 3.0]))


def _scene(name):
    x, y = np.meshgrid(np.arange(-1.5, 1.5, 0.02), np.arange(1.5, 4.5, 0.02))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    return ShardScene(name, points.astype(np.float32), np.float32(0.02), "", "")


def _sample(number, supervision):
    recording, scene, subject = RECORDINGS[number // 2]
    rng = np.random.default_rng(number)
    betas = np.zeros(16, np.float32)
    orient = np.array([np.pi, 0, 0], np.float32)  # upright where y points down
    pose = (0.05 * rng.standard_normal(63)).astype(np.float32)
    transl = np.array([0.1 * number - 0.2, 0.0, 3.0], np.float32)
    vertices = _vertices(betas, orient, pose, transl, supervision)
    transl[1] += 1.2 + SUNK_M - vertices[:, 1].max()
    vertices = _vertices(betas, orient, pose, transl, supervision)
    pixels = vertices[:, :2] / vertices[:, 2:] * 1000 + [960, 540]
    middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    half = 1.15 * np.ptp(pixels, axis=0).max() / 2
    table = category_of_fine_vertices(resolve_body_files(None), 8, ("L_Hand", "R_Hand"))
    category = label_vertices(transform_points(T, vertices), table, _scene(scene).points_world, 0.07)
    image = rng.integers(0, 256, (224, 224, 3), np.uint8)
    return ShardSample(
        sample_id=f"{recording}/frame_{number}",
        recording=recording,
        frame=f"frame_{number}",
        scene=scene,
        subject=subject,
        gender="male",
        crop_jpeg=cv2.imencode(".jpg", image)[1].ravel(),
        box_px=np.array([*(middle - half), *(middle + half)], np.float32),
        K=K,
        T_world_from_camera=T,
        betas=betas,
        global_orient=orient,
        body_pose=pose,
        transl=transl,
        vertex_category=category.astype(np.uint8),
        contact_rows=np.zeros(0, np.int32),
        contact_category=np.zeros(0, np.uint8),
        expected_error_mm=np.float32(0),
        weight=np.float32(1),
        reject_reason="",
        provenance="{}",
    )


def _vertices(betas, orient, pose, transl, supervision):
    parameters = [torch.from_numpy(value.copy())[None] for value in (betas, orient, pose, transl)]
    body = BodyParameters(*parameters, ("male",))
    return pose_bodies(body, supervision.bodies)[0].double().numpy()

"""Small shards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.shards.schema import ShardSample, ShardScene
from pipelines.shards.writer import ShardSource, shard_path, write_shard

SCENES = ("N3Office", "MPH16")


def _sample(row: int, **changes: object) -> ShardSample:
    rng = np.random.default_rng(row)
    scene, touching = SCENES[row % 2], int(rng.integers(0, 30)) if row else 0
    category = np.zeros(6890, np.uint8)
    category[rng.integers(0, 6890, 50)] = rng.integers(1, 8, 50)
    fields = {
        "sample_id": f"{scene}_00034_01/s001_frame_{row:05d}",
        "recording": f"{scene}_00034_01",
        "frame": f"s001_frame_{row:05d}",
        "scene": scene,
        "subject": "00034",
        "gender": "male",
        "crop_jpeg": rng.integers(0, 256, int(rng.integers(300, 900)), np.uint8),
        "box_px": np.array([100, 50, 500, 450], np.float32),
        "K": np.array([[1060.5, 0, 951.3], [0, 1060.4, 536.8], [0, 0, 1]]),
        "T_world_from_camera": np.eye(4),
        "betas": rng.standard_normal(16, np.float32),
        "global_orient": rng.standard_normal(3, np.float32),
        "body_pose": rng.standard_normal(63, np.float32),
        "transl": rng.standard_normal(3, np.float32),
        "vertex_category": category,
        "contact_rows": rng.integers(0, 500, touching, np.int32),
        "contact_category": rng.integers(1, 8, touching, np.uint8),
        "expected_error_mm": np.float32(np.nan if row == 0 else 20 + row),
        "weight": np.float32(1),
        "reject_reason": "" if row != 2 else "penetration",
        "provenance": '{"fit": "abc"}',
    }
    return ShardSample(**{**fields, **changes})


def _scene(name: str) -> ShardScene:
    points = np.random.default_rng(len(name)).standard_normal((500, 3), np.float32)
    return ShardScene(name, points, np.float32(0.02), f"{name}_sdf.npy", "0" * 64)


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., ShardSample]:
    """A drawn sample, any field replaced."""
    return _sample


@pytest.fixture(scope="session")
def make_scene() -> Callable[[str], ShardScene]:
    """A drawn scene."""
    return _scene


@pytest.fixture(scope="session")
def source() -> ShardSource:
    """What the small shard says it is made from."""
    return ShardSource("shard-00000", "fit", "settings-1", {"fit": "f1"})


@pytest.fixture
def shard(tmp_path, source):
    """A shard of five samples in two scenes; the first has no contact."""
    folder = tmp_path / "shards"
    write_shard(folder, source, lambda: map(_scene, SCENES), lambda: map(_sample, range(5)))
    return shard_path(folder, source.name)

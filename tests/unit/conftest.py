"""Shards of posed stand-in bodies in a drawn room, as training reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplh
from pipelines.bodies.parts import CONTACT_PARTS, contact_labels_smplh
from pipelines.contact.labels import can_touch, label_points, label_vertices
from pipelines.geometry.transforms import invert, transform_points
from pipelines.shards.schema import ShardSample, ShardScene
from pipelines.shards.writer import ShardSource, shard_path, write_shard

K = np.array([[1060.5, 0, 951.3], [0, 1060.4, 536.8], [0, 0, 1]])
PITCH_M = 0.04
# The camera stands 1 m above the floor, looks along +y of the room and is not turned: x right, y down.
T_WORLD_FROM_CAMERA = np.array([[1.0, 0, 0, 0.2], [0, 0, 1, -3.0], [0, -1, 0, 1.0], [0, 0, 0, 1]])


def _room(edge_m: float) -> np.ndarray:
    """Floor at z = 0 and the wall behind."""
    steps = np.arange(-edge_m / 2, edge_m / 2, PITCH_M) + PITCH_M / 2
    across, along = np.meshgrid(steps, steps, indexing="ij")
    floor = np.stack([across, along, np.zeros_like(across)], axis=-1).reshape(-1, 3)
    wall = np.stack([across, np.full_like(across, edge_m / 2), along + edge_m / 2], axis=-1)
    return np.concatenate([floor, wall.reshape(-1, 3)]).astype(np.float32)


def _body(row: int, gender: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A standing body, a little bent, soles on the floor; camera frame."""
    rng = np.random.default_rng(row)
    model = load_smplh(resolve_body_files(None), gender, 16)
    parameters = {
        "betas": rng.standard_normal(16).astype(np.float32) / 2,
        "global_orient": np.array([np.pi, 0, 0], np.float32),
        "body_pose": rng.normal(0, 0.05, 63).astype(np.float32),
        "transl": np.array([rng.uniform(-0.4, 0.4), 0, 3.2], np.float32),
    }

    def pose() -> np.ndarray:
        tensors = (torch.from_numpy(value)[None] for value in parameters.values())
        return model(*tensors).vertices[0].numpy()

    parameters["transl"][1] += 1 - pose()[:, 1].max()  # the floor is 1 m below the camera
    return parameters, pose()


def _crop(row: int, margin: int) -> np.ndarray:
    """A smooth picture, no two samples alike."""
    size = 224 + 2 * margin
    small = np.random.default_rng(row).integers(0, 256, (8, 8, 3), np.uint8)
    image = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()


def _sample(row: int, scene: ShardScene, recording: str, margin: int) -> ShardSample:
    gender = ("male", "female")[row % 2]
    parameters, vertices = _body(row, gender)
    table = contact_labels_smplh(resolve_body_files(None))
    able = can_touch(table, ("none", *CONTACT_PARTS), ("L_Hand", "R_Hand"))
    cloud = transform_points(invert(T_WORLD_FROM_CAMERA), scene.points_world.astype(np.float64))
    of_point = label_points(cloud, vertices[able], table[able], 0.07)
    pixels = (vertices @ K.T)[:, :2] / vertices[:, 2:]
    middle, half = pixels.min(0) / 2 + pixels.max(0) / 2, 1.15 * np.ptp(pixels, axis=0).max() / 2
    return ShardSample(
        sample_id=f"{recording}/s001_frame_{row:05d}",
        recording=recording,
        frame=f"s001_frame_{row:05d}",
        scene=scene.scene,
        subject=("00034", "00159")[row % 2],
        gender=gender,
        crop_jpeg=_crop(row, margin),
        box_px=np.concatenate([middle - half, middle + half]).astype(np.float32),
        K=K,
        T_world_from_camera=T_WORLD_FROM_CAMERA,
        **parameters,
        vertex_category=label_vertices(vertices, np.where(able, table, 0), cloud, 0.07).astype(np.uint8),
        contact_rows=np.flatnonzero(of_point).astype(np.int32),
        contact_category=of_point[of_point > 0].astype(np.uint8),
        expected_error_mm=np.float32(20 + row),
        weight=np.float32(1 / (1 + row)),
        reject_reason="",
        provenance='{"made": "by a test"}',
    )


@pytest.fixture(scope="session")
def body_shards(tmp_path_factory) -> Callable[..., list[Path]]:
    """Make shards of `num_samples` each, one recording and scene per shard; made once per request."""
    made: dict[tuple[object, ...], list[Path]] = {}

    def make(
        num_shards: int = 2,
        num_samples: int = 4,
        kinds: tuple[str, ...] = ("truth", "truth"),
        margin: int = 48,
        **changes: object,
    ) -> list[Path]:
        key = (num_shards, num_samples, kinds, margin, *changes.items())
        if key not in made:
            folder, made[key] = tmp_path_factory.mktemp("shards"), []
            for number in range(num_shards):
                scene = ShardScene(f"Room{number}", _room(4 + number), np.float32(PITCH_M), "", "")
                recording = f"Room{number}_00034_01"
                rows = range(num_samples * number, num_samples * (number + 1))
                samples = [replace(_sample(row, scene, recording, margin), **changes) for row in rows]
                source = ShardSource(f"shard-{number:05d}", kinds[number % len(kinds)], "s", {})
                write_shard(folder, source, lambda scene=scene: [scene], lambda own=samples: own)
                made[key].append(shard_path(folder, source.name))
        return made[key]

    return make

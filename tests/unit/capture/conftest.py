"""A capture of a block that walks through a small room: eight frames, two small cameras, made at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.capture.settings import CaptureSettings
from pipelines.config import load_settings
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import invert, rigid
from pipelines.synthetic.layout import look_at
from pipelines.synthetic.primitives import Solid, tessellate
from pipelines.synthetic.visibility import merge_meshes

NUM_FRAMES = 8
COLOR = (160, 120)
DEPTH = (128, 106)
SOLIDS = (
    Solid("floor", "box", (0.0, 0.0, -0.1), (2.5, 2.5, 0.1), front="+z"),
    Solid("wall", "box", (0.0, 2.55, 1.2), (2.5, 0.05, 1.2), front="-y"),
    Solid("side", "box", (-2.55, 0.0, 1.2), (0.05, 2.5, 1.2), front="+x"),
    Solid("table", "box", (1.3, 1.4, 0.36), (0.5, 0.4, 0.36)),
    Solid("box", "box", (-1.2, 1.2, 0.25), (0.3, 0.25, 0.25)),
)
K_COLOR = np.array([[120.0, 0, 79.5], [0, 120.0, 59.5], [0, 0, 1]])
K_DEPTH = np.array([[80.0, 0, 63.0], [0, 80.0, 53.0], [0, 0, 1]])
T_COLOR_FROM_DEPTH = rigid(cv2.Rodrigues(np.array([0.12, 0.05, 0.0]))[0], np.array([-0.09, 0.02, 0.03]))


@dataclass(frozen=True)
class SmallCapture:
    """A written capture and what is true of it."""

    root: Path
    T_world_from_camera: np.ndarray

    def settings(self, *overrides: str) -> CaptureSettings:
        out = self.root.with_name(self.root.name + "-tree")
        base = [f"folder={self.root}", f"out={out}", "sdf_size=48"]
        return load_settings(CaptureSettings, self.root / "capture.yaml", [*base, *overrides])


def person_at(frame: int) -> Solid:
    return Solid("person", "box", (-0.9 + 0.25 * frame, 0.2, 0.85), (0.2, 0.15, 0.85))


def mesh_of(solids: tuple[Solid, ...], edge_m: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces, _ = merge_meshes([tessellate(solid, edge_m) for solid in solids])
    return vertices, faces


def depth_of(
    solids: tuple[Solid, ...], K: np.ndarray, size: tuple[int, int], T_world_from_camera: np.ndarray
) -> np.ndarray:
    caster = RayCaster(*mesh_of(solids, 5.0))
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(columns.shape)])
    directions = rays.reshape(3, -1).T @ T_world_from_camera[:3, :3].T
    origins = np.repeat(T_world_from_camera[None, :3, 3], len(directions), axis=0)
    depth, _ = caster.first_hit(origins, directions)
    return np.where(np.isfinite(depth), depth, 0).reshape(columns.shape)


def obj_text(vertices: np.ndarray, faces: np.ndarray) -> str:
    lines = ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in vertices.tolist()]
    return "\n".join(lines + ["f {} {} {}".format(*f) for f in (faces + 1).tolist()]) + "\n"


def keypoints_of(frame: int, T_world_from_camera: np.ndarray) -> np.ndarray:
    """BODY_25 on the block: a face that looks at the camera, right side left in the image."""
    center = np.array(person_at(frame).center)
    right = T_world_from_camera[:3, 0]
    rows = np.zeros((25, 3))
    places = {0: (0, 1.55), 15: (-0.04, 1.6), 16: (0.04, 1.6), 2: (-0.15, 1.4), 5: (0.15, 1.4)}
    places |= {
        10: (-0.1, 0.5),
        13: (0.1, 0.5),
        11: (-0.1, 0.1),
        14: (0.1, 0.1),
        4: (-0.17, 0.9),
        7: (0.17, 0.9),
    }
    for row, (across, height) in places.items():
        point = np.array([center[0], center[1] - 0.15, height]) + across * right
        camera = invert(T_world_from_camera) @ np.append(point, 1)
        pixel = K_COLOR @ (camera[:3] / camera[2])
        rows[row] = (*pixel[:2], 0.9)
    return rows


@pytest.fixture(scope="session")
def small_capture(tmp_path_factory: pytest.TempPathFactory) -> SmallCapture:
    root = tmp_path_factory.mktemp("capture") / "small"
    T = look_at(np.array([0.3, -2.3, 1.6]), np.array([-0.1, 0.6, 0.7]), 0.02)
    for folder in ("color", "depth", "keypoints"):
        (root / folder).mkdir(parents=True)
    for frame in range(NUM_FRAMES):
        solids = (*SOLIDS, person_at(frame))
        depth = depth_of(solids, K_DEPTH, DEPTH, T @ T_COLOR_FROM_DEPTH)
        cv2.imwrite(str(root / "depth" / f"{frame:03d}.png"), np.round(depth * 1000).astype(np.uint16))
        shade = depth_of(solids, K_COLOR, COLOR, T)
        cv2.imwrite(
            str(root / "color" / f"{frame:03d}.png"), np.clip(shade * 50, 0, 255).astype(np.uint8)
        )
        person = {"pose_keypoints_2d": keypoints_of(frame, T).ravel().tolist()}
        path = root / "keypoints" / f"{frame:03d}_keypoints.json"
        path.write_text(json.dumps({"people": [person]}))
    (root / "room.obj").write_text(obj_text(*mesh_of(SOLIDS)))
    (root / "pose.json").write_text(json.dumps(T.tolist()))
    cameras: dict[str, Any] = {
        "color": {"camera_mtx": K_COLOR.tolist(), "width": COLOR[0], "height": COLOR[1]},
        "depth": {"camera_mtx": K_DEPTH.tolist(), "width": DEPTH[0], "height": DEPTH[1]},
        "ext_depth2color": T_COLOR_FROM_DEPTH.tolist(),
    }
    (root / "cameras.json").write_text(json.dumps(cameras))
    (root / "capture.yaml").write_text(
        "color: color\ndepth: depth\nkeypoints: keypoints\ncolor_camera: cameras.json\n"
        "scan: room.obj\ncamera_pose: pose.json\n"
    )
    return SmallCapture(root, T)


@pytest.fixture
def spoiled(small_capture: SmallCapture, tmp_path: Path) -> Callable[..., SmallCapture]:
    """A copy with some files written anew."""

    def spoil(**contents: str) -> SmallCapture:
        import shutil

        root = tmp_path / "spoiled"
        shutil.copytree(small_capture.root, root)
        for name, text in contents.items():
            (root / name.replace("__", ".")).write_text(text)
        return replace(small_capture, root=root)

    return spoil


@pytest.fixture
def solids() -> tuple[Solid, ...]:
    return SOLIDS


@pytest.fixture
def as_mesh() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return mesh_of


@pytest.fixture
def as_obj() -> Callable[[np.ndarray, np.ndarray], str]:
    return obj_text

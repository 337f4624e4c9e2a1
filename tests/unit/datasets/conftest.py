"""A tiny PROX tree written with NumPy and OpenCV alone: a card-board person in a box room.

The card stands at a known place in the colour camera, to the right of the image's centre, faces the
camera, and is seen by an infrared camera that is shifted and turned. Nothing of the synthetic room of
the package is used, so that reader and writer cannot share a mistake.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 1920, 1080
IR_WIDTH, IR_HEIGHT = 512, 424
FLOOR_Z = -0.7
RECORDING = "Boxroom_00159_01"
SCENE = "Boxroom"
FRAMES = (
    "s001_frame_00001__00.00.00.029",
    "s001_frame_00002__00.00.00.050",
    "s001_frame_00003__00.00.00.083",
    "s001_frame_00005__00.00.00.216",
    "s004_frame_00001__00.00.00.031",
    "s004_frame_00002__00.00.00.064",
)
K_COLOR = np.array([[1060.5, 0, 951.3], [0, 1060.4, 536.8], [0, 0, 1]])
K_IR = np.array([[365.0, 0, 257.0], [0, 365.0, 205.0], [0, 0, 1]])
DISTORTION_COLOR = np.array([0.03, -0.04, 0.001, -0.001, 0.002])
DISTORTION_IR = np.array([0.09, -0.27, 0.0, 0.0, 0.09])
CARD_X, CARD_Y, CARD_Z = (0.3, 0.9), (-0.8, 0.8), 2.5

# Name order of BODY_25; (across, up) on the card, person's right at smaller x.
BODY = np.array(
    [
        (0, -0.7), (0, -0.5), (-0.2, -0.5), (-0.25, -0.2), (-0.25, 0.0), (0.2, -0.5), (0.25, -0.2),
        (0.25, 0.0), (0, 0.0), (-0.1, 0.0), (-0.1, 0.35), (-0.1, 0.7), (0.1, 0.0), (0.1, 0.35),
        (0.1, 0.7), (-0.04, -0.74), (0.04, -0.74), (-0.09, -0.72), (0.09, -0.72), (0.14, 0.76),
        (0.18, 0.75), (0.08, 0.72), (-0.14, 0.76), (-0.18, 0.75), (-0.08, 0.72),
    ]
)  # fmt: skip
T_IR_FROM_RIG = np.eye(4)
T_IR_FROM_RIG[:3, :3] = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]
T_IR_FROM_RIG[:3, 3] = (0.001, 0.002, -0.001)
T_COLOR_FROM_RIG = np.eye(4)
T_COLOR_FROM_RIG[:3, :3] = cv2.Rodrigues(np.array([0.004, 0.003, -0.002]))[0]
T_COLOR_FROM_RIG[:3, 3] = (-0.052, 0.0, 0.0)


def camera_pose() -> np.ndarray:
    """World from camera: camera 0.9 m above the floor at z = -0.7, looking along +y, 10 degrees down."""
    forward_to_y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    T = np.eye(4)
    T[:3, :3] = forward_to_y @ cv2.Rodrigues(np.array([-np.radians(10), 0, 0]))[0]
    T[:3, 3] = (0.1, -1.8, 0.2)
    return T


def project(points_camera: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    pixels, _ = cv2.projectPoints(
        points_camera.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), K, distortion
    )
    return pixels.reshape(-1, 2)


def card_points_camera(shift: float = 0.0) -> np.ndarray:
    """BODY_25 joints on the card, colour camera frame."""
    center = (np.mean(CARD_X) + shift, np.mean(CARD_Y))
    return np.column_stack([BODY + center, np.full(25, CARD_Z)])


@dataclass
class Tree:
    """The tree and what is true of it."""

    root: Path

    @property
    def base(self) -> Path:
        return self.root / "qualitative"

    def file(self, kind: str, frame: str, recording: str = RECORDING) -> Path:
        suffix = ".jpg" if kind == "Color" else ".png"
        return self.base / "recordings" / recording / kind / f"{frame}{suffix}"

    def keypoints_file(self, frame: str, recording: str = RECORDING) -> Path:
        return self.base / "keypoints" / recording / f"{frame}_keypoints.json"

    def fit_file(self, frame: str, recording: str = RECORDING) -> Path:
        return self.base / "PROXD" / recording / "results" / frame / "000.pkl"

    def write_keypoints(self, frame: str, people: list[np.ndarray], recording: str = RECORDING) -> None:
        """People as (118, 3) in PROX's row order."""
        content = {"version": 1.3, "people": [openpose_person(person) for person in people]}
        path = self.keypoints_file(frame, recording)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def openpose_person(person: np.ndarray) -> dict[str, list[float]]:
    face = np.zeros((70, 3))
    face[17:68] = person[67:118]
    return {
        "pose_keypoints_2d": person[:25].ravel().tolist(),
        "hand_left_keypoints_2d": person[25:46].ravel().tolist(),
        "hand_right_keypoints_2d": person[46:67].ravel().tolist(),
        "face_keypoints_2d": face.ravel().tolist(),
    }


def true_keypoints(shift: float = 0.0) -> np.ndarray:
    """The 118 rows in the true image; hands and face as small clouds with distinct points."""
    rows = np.zeros((118, 3))
    rows[:25, :2] = project(card_points_camera(shift), K_COLOR, DISTORTION_COLOR)
    rows[:, 2] = 0.9
    spread = np.column_stack([np.arange(21), np.arange(21) % 5]) * 0.5
    rows[25:46, :2] = rows[7, :2] + spread
    rows[46:67, :2] = rows[4, :2] - spread
    rows[67:118, :2] = rows[0, :2] + np.column_stack([np.arange(51) - 25, np.arange(51) % 7])
    return rows


def person_mask(shift: float = 0.0) -> np.ndarray:
    """True image, True on the card."""
    outline = zip(np.repeat(CARD_X, 2), (*CARD_Y, *CARD_Y[::-1]), strict=True)
    corners = np.array([(x + shift, y, CARD_Z) for x, y in outline])
    polygon = np.rint(project(corners, K_COLOR, DISTORTION_COLOR)).astype(np.int32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(mask, polygon, 1)
    return mask.astype(bool)


def depth_raw(shift: float = 0.0) -> np.ndarray:
    """True infrared image: the card before a wall at 4 m (measured in the colour camera)."""
    v, u = np.mgrid[:IR_HEIGHT, :IR_WIDTH].reshape(2, -1).astype(np.float64)
    plane = cv2.undistortPoints(np.column_stack([u, v]).reshape(-1, 1, 2), K_IR, DISTORTION_IR)
    rays = np.column_stack([plane.reshape(-1, 2), np.ones(len(u))])
    T = T_COLOR_FROM_RIG @ np.linalg.inv(T_IR_FROM_RIG)
    rays_color = rays @ T[:3, :3].T
    depth = (4.0 - T[2, 3]) / rays_color[:, 2]
    on_card = (CARD_Z - T[2, 3]) / rays_color[:, 2]
    x, y = (rays_color * on_card[:, None] + T[:3, 3])[:, :2].T - [[shift], [0]]
    hit = (x > CARD_X[0]) & (x < CARD_X[1]) & (y > CARD_Y[0]) & (y < CARD_Y[1])
    depth[hit] = on_card[hit]
    return np.round(depth * 8000).astype(np.uint16).reshape(IR_HEIGHT, IR_WIDTH)


def save(path: Path, image: np.ndarray) -> None:
    """Write mirrored, as Kinect One does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[:, ::-1]))


def proxd_parameters(shift: float = 0.0) -> dict[str, np.ndarray]:
    """A standing SMPL-X body about where the card is, one frame, with the leading axis."""
    sizes = {
        "camera_rotation": (3, 3), "camera_translation": (3,), "betas": (10,), "global_orient": (3,),
        "transl": (3,), "left_hand_pose": (12,), "right_hand_pose": (12,), "jaw_pose": (3,),
        "leye_pose": (3,), "reye_pose": (3,), "expression": (10,), "pose_embedding": (32,),
        "body_pose": (63,),
    }  # fmt: skip
    values = {key: np.zeros((1, *shape), np.float32) for key, shape in sizes.items()}
    values["global_orient"][0] = (np.pi, 0, 0)  # y up and facing the camera, in OpenCV axes
    values["transl"][0] = (np.mean(CARD_X) + shift, 0.0, CARD_Z)
    return values


def write_fit(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(values, protocol=2))


def room_mesh() -> tuple[np.ndarray, np.ndarray]:
    """Floor (two coarse triangles, level within 2 mm/m), a finely scanned table, two walls."""
    vertices, faces = [], []

    def quad(corners: list[tuple[float, float, float]], cells: int) -> None:
        a, b, c, d = (np.array(corner, float) for corner in corners)
        s, t = np.meshgrid(np.linspace(0, 1, cells + 1), np.linspace(0, 1, cells + 1), indexing="ij")
        s, t = s.reshape(-1, 1), t.reshape(-1, 1)
        first = sum(len(part) for part in vertices)
        vertices.append((1 - s) * ((1 - t) * a + t * d) + s * ((1 - t) * b + t * c))
        for i in range(cells):
            for j in range(cells):
                k = first + i * (cells + 1) + j
                faces.extend([(k, k + cells + 1, k + cells + 2), (k, k + cells + 2, k + 1)])

    quad([(-2, -2, FLOOR_Z), (2, -2, FLOOR_Z), (2, 2, FLOOR_Z), (-2, 2, FLOOR_Z)], 2)
    quad([(0.8, 0.8, 0.0), (1.6, 0.8, 0.0), (1.6, 1.6, 0.0), (0.8, 1.6, 0.0)], 20)
    quad([(-2, 2, FLOOR_Z), (2, 2, FLOOR_Z), (2, 2, 1.5), (-2, 2, 1.5)], 8)
    quad([(-2, -2, FLOOR_Z), (-2, 2, FLOOR_Z), (-2, 2, 1.5), (-2, -2, 1.5)], 8)
    return np.concatenate(vertices), np.array(faces)


def room_sdf(low: np.ndarray, high: np.ndarray, dim: int) -> np.ndarray:
    """Distance to floor, two walls and table top (the table is solid 5 cm thick)."""
    axes = [np.linspace(low[k], high[k], dim) for k in range(3)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    q = np.stack([abs(x - 1.2) - 0.4, abs(y - 1.2) - 0.4, abs(z + 0.025) - 0.025])
    table = np.linalg.norm(q.clip(min=0), axis=0) + q.max(axis=0).clip(max=0)
    return np.minimum.reduce([z - FLOOR_Z, 2 - y, x + 2, table]).astype(np.float32)


def write_ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "ply", "format ascii 1.0", f"element vertex {len(vertices)}",
        "property float x", "property float y", "property float z",
        "property uchar red", "property uchar green", "property uchar blue",
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    lines += [f"{x:.6f} {y:.6f} {z:.6f} 255 128 0" for x, y, z in vertices]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n")


def write_camera(path: Path, K: np.ndarray, k: np.ndarray, T: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "camera_mtx": K.tolist(),
        "k": k.tolist(),
        "f": [K[0, 0], K[1, 1]],
        "c": [K[0, 2], K[1, 2]],
        "R": cv2.Rodrigues(T[:3, :3])[0].ravel().tolist(),
        "T": T[:3, 3].tolist(),
        "view_mtx": T[:3].tolist(),
    }
    path.write_text(json.dumps(content))


def write_scene(base: Path, scene: str = SCENE, dim: int = 32, *, flat: bool = True) -> None:
    low, high = np.array([-2.5, -2.5, -1.2]), np.array([2.5, 2.5, 2.0])
    sdf = room_sdf(low, high, dim)
    write_ply(base / "scenes" / f"{scene}.ply", *room_mesh())
    (base / "sdf").mkdir(exist_ok=True)
    np.save(base / "sdf" / f"{scene}_sdf.npy", sdf.ravel() if flat else sdf)
    box = {"min": low.tolist(), "max": high.tolist(), "dim": dim}
    (base / "sdf" / f"{scene}.json").write_text(json.dumps(box))
    (base / "cam2world").mkdir(exist_ok=True)
    (base / "cam2world" / f"{scene}.json").write_text(json.dumps(camera_pose().tolist()))


def write_tree(root: Path) -> Tree:
    tree = Tree(root)
    mask = np.where(person_mask(), 0, 255).astype(np.uint8)
    depth = depth_raw()
    color = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    color[:, : WIDTH // 2] = (0, 0, 200)  # BGR: the left half of the true image is red
    for frame in FRAMES:
        save(tree.file("Color", frame), color)
        save(tree.file("Depth", frame), depth)
        save(tree.file("BodyIndexColor", frame), mask)
        tree.write_keypoints(frame, [true_keypoints()])
        write_fit(tree.fit_file(frame), proxd_parameters())
    write_camera(tree.base / "calibration" / "Color.json", K_COLOR, DISTORTION_COLOR, T_COLOR_FROM_RIG)
    write_camera(tree.base / "calibration" / "IR.json", K_IR, DISTORTION_IR, T_IR_FROM_RIG)
    write_scene(tree.base)
    segments = tree.base / "body_segments"
    segments.mkdir()
    for part in ("L_Leg", "R_Leg", "L_Hand", "R_Hand", "gluteus", "back", "thighs"):
        (segments / f"{part}.json").write_text(json.dumps({"verts_ind": [3, 1, 1], "faces_ind": [0]}))
    (segments / "body_mask.json").write_text("[5, 4]")
    return tree


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The whole tree; read only."""
    return write_tree(tmp_path_factory.mktemp("prox"))


@pytest.fixture
def tree(pristine: Tree, tmp_path: Path) -> Tree:
    """A copy to spoil; files are hard links until they are replaced."""
    import os
    import shutil

    def link(source: str, target: str) -> None:
        if source.endswith((".png", ".jpg")):
            os.link(source, target)
        else:
            shutil.copy(source, target)

    shutil.copytree(pristine.root, tmp_path / "prox", copy_function=link)
    return Tree(tmp_path / "prox")

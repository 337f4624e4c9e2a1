"""One sample as a web page that needs nothing else: scene, body, contact and camera, to turn by hand.

The 3D part is trimesh's viewer, which carries three.js in the page.
"""

from __future__ import annotations

import base64
import html
from typing import Final

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Float64, UInt8
from trimesh.viewer.notebook import scene_to_html

from pipelines.bodies.parts import CONTACT_PARTS
from pipelines.contact.colors import CATEGORY_COLORS
from pipelines.geometry.transforms import transform_points
from pipelines.shards.look.contact_sheet import draw_tile, encode_png
from pipelines.shards.look.posed import PosedSample

_NEAR_M: Final = 0.6
"""Scene cells this near to the body's box are drawn one by one."""
_FAR_M: Final = 2.5
"""Beyond _NEAR_M and up to this, the scene is drawn in coarse cells."""
_COARSE: Final = 4
"""Coarse cells per cell."""
_CELL_SHARE: Final = 0.9
"""Edge of a drawn cube over its cell, so that cells stay apart."""
_BODY: Final = (0.62, 0.80, 0.93)
_NEAR, _FAR, _RAY = (0.72, 0.72, 0.72), (0.88, 0.88, 0.86), (0.55, 0.15, 0.55)
_RAY_RADIUS_M: Final = 0.008
_VIEW_M: Final = 3.9
_LIGHT: Final = (
    "gltf.scene.traverse(function(o){if(o.material){o.material.metalness=0;o.material.roughness=1;}});"
    "tracklight.intensity=0.6;scene.add(new THREE.AmbientLight(0xffffff,0.4));"
)
"""glTF's default material is metal, which is black without surroundings to mirror."""

Color = Float[np.ndarray, "rows 3"] | tuple[float, float, float]


def sample_page(posed: PosedSample) -> str:
    """The page's HTML."""
    page = scene_to_html(build_scene(posed))
    centre = _y_up(posed.vertices_world).mean(axis=0)
    x, y, z = (f"{value:.3f}" for value in centre)
    title = html.escape(posed.sample.sample_id)
    for old, new in (
        ("centerControls(scene,camera,controls);", f"controls.target.set({x},{y},{z});"),
        ("scene.add(gltf.scene);", _LIGHT + "scene.add(gltf.scene);"),
        ("<title>trimesh: threejs viewer</title>", f"<title>{title}</title>"),
        ('<div id="container"></div>', _panel(posed) + '<div id="container"></div>'),
    ):
        assert old in page, "trimesh's viewer has changed"
        page = page.replace(old, new)
    return page


def build_scene(posed: PosedSample) -> trimesh.Scene:
    """Body, cells and camera; y up, as viewers want it."""
    scene = trimesh.Scene()
    for name, mesh in (("body", _body(posed)), ("camera", _camera(posed)), *_cells(posed)):
        if len(mesh.faces):
            scene.add_geometry(mesh, geom_name=name)
    return _look_at_body(scene, posed)


def _body(posed: PosedSample) -> trimesh.Trimesh:
    category = posed.sample.vertex_category
    colors = np.where(category[:, None] > 0, _colors(category), np.array(_BODY))
    return _mesh(posed.vertices_world, posed.faces, colors)


def _cells(posed: PosedSample) -> list[tuple[str, trimesh.Trimesh]]:
    """Cells in contact by part, cells near the body, and coarse ones farther away."""
    scene, sample = posed.scene, posed.sample
    points, pitch = scene.points_world.astype(np.float64), float(scene.pitch_m)
    touched = np.zeros(len(points), np.int64)
    touched[sample.contact_rows] = sample.contact_category
    low, high = posed.vertices_world.min(axis=0), posed.vertices_world.max(axis=0)
    distance = np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0), axis=1)
    near: Bool[np.ndarray, " points"] = (distance < _NEAR_M) & (touched == 0)
    far = (distance >= _NEAR_M) & (distance < _FAR_M)
    centre, place = _first_view(posed)
    far &= (_y_up(points) - centre) @ (
        place - centre
    ) < _NEAR_M  # the room is cut open towards the viewer
    wide = _COARSE * pitch
    coarse = np.unique(np.floor(points[far] / wide), axis=0) * wide + wide / 2
    return [
        ("contact", _cubes(points[touched > 0], 1.25 * pitch, _colors(touched[touched > 0]))),
        ("scene", _cubes(points[near], pitch, _NEAR)),
        ("scene-far", _cubes(coarse, wide, _FAR)),
    ]


def _camera(posed: PosedSample) -> trimesh.Trimesh:
    """Four rays through the crop's corners to the body's depth, and the frame they end in."""
    sample = posed.sample
    left, up, right, bottom = sample.box_px.astype(np.float64).tolist()
    depth = float(posed.vertices_camera[:, 2].mean())
    K = sample.K
    corners = np.array(
        [
            [(u - K[0, 2]) / K[0, 0] * depth, (v - K[1, 2]) / K[1, 1] * depth, depth]
            for u, v in ((left, up), (right, up), (right, bottom), (left, bottom))
        ]
    )
    ends = [(np.zeros(3), corner) for corner in corners]
    ends += [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    segments = transform_points(sample.T_world_from_camera, np.array(ends))
    rods = [trimesh.creation.cylinder(_RAY_RADIUS_M, segment=s, sections=6) for s in segments]
    joined = trimesh.util.concatenate(rods)
    assert isinstance(joined, trimesh.Trimesh)
    return _mesh(np.asarray(joined.vertices), np.asarray(joined.faces), _RAY)


def _cubes(centres: Float64[np.ndarray, "cells 3"], edge_m: float, colors: Color) -> trimesh.Trimesh:
    box = trimesh.creation.box((_CELL_SHARE * edge_m,) * 3)
    corners, faces = np.asarray(box.vertices), np.asarray(box.faces)
    vertices = (centres[:, None] + corners).reshape(-1, 3)
    rows = (faces + len(corners) * np.arange(len(centres))[:, None, None]).reshape(-1, 3)
    colors = np.broadcast_to(np.asarray(colors), (len(centres), 3))
    return _mesh(vertices, rows, np.repeat(colors, len(corners), axis=0))


def _mesh(vertices: Float[np.ndarray, "verts 3"], faces: np.ndarray, colors: Color) -> trimesh.Trimesh:
    rgb: UInt8[np.ndarray, "verts 3"] = np.round(
        255 * np.broadcast_to(np.asarray(colors), (len(vertices), 3))
    ).astype(np.uint8)
    return trimesh.Trimesh(_y_up(vertices), faces, vertex_colors=rgb, process=False)


def _y_up(points: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, "rows 3"]:
    """PROX's world has z up."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)


def _first_view(
    posed: PosedSample,
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """The body's middle, and a place beside the camera that took the picture, a little higher."""
    centre = _y_up(posed.vertices_world).mean(axis=0)
    towards = _y_up(posed.sample.T_world_from_camera[None, :3, 3])[0] - centre
    towards[1] = 0
    towards /= max(float(np.linalg.norm(towards)), 1e-9)
    sideways = np.cross([0.0, 1, 0], towards)
    return centre, centre + _VIEW_M * (0.8 * towards + 0.4 * sideways + np.array([0, 0.45, 0]))


def _look_at_body(scene: trimesh.Scene, posed: PosedSample) -> trimesh.Scene:
    centre, place = _first_view(posed)
    back = (place - centre) / np.linalg.norm(place - centre)
    right = np.cross([0.0, 1, 0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(back, right), back, place])
    scene.camera = trimesh.scene.Camera(resolution=(1280, 800), fov=(60, 40))
    scene.camera_transform = pose
    return scene


def _panel(posed: PosedSample) -> str:
    """Picture, name, quality and legend in the corner."""
    sample = posed.sample
    picture = base64.b64encode(encode_png(draw_tile(posed))).decode()
    seen = sorted(set(sample.vertex_category.tolist()) | set(sample.contact_category.tolist()))
    marks = "".join(
        f'<div><span style="color:{_css(part)}">&#9632;</span> {CONTACT_PARTS[part - 1]}</div>'
        for part in seen
        if part
    )
    facts = (
        f"{html.escape(sample.scene)}, subject {html.escape(sample.subject)}, {sample.gender}"
        f"<br>{int((sample.vertex_category > 0).sum())} vertices and {len(sample.contact_rows)} cells of "
        f"{100 * float(posed.scene.pitch_m):.0f} cm in contact"
    )
    return (
        '<div style="position:absolute;top:12px;left:12px;padding:8px;background:#fffd;'
        f'font:13px sans-serif"><img alt="crop" src="data:image/png;base64,{picture}"><div>{facts}</div>'
        f'{marks or "no contact"}<div style="color:#888">drag: turn, wheel: nearer, right: move</div></div>'
    )


def _colors(category: np.ndarray) -> Float64[np.ndarray, "rows 3"]:
    return np.asarray(CATEGORY_COLORS)[(category.astype(np.int64) - 1) % len(CATEGORY_COLORS)]


def _css(category: int) -> str:
    red, green, blue = (
        round(255 * part) for part in CATEGORY_COLORS[(category - 1) % len(CATEGORY_COLORS)]
    )
    return f"rgb({red},{green},{blue})"

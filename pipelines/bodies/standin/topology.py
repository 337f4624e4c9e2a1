"""Vertex numbers and faces of both formats: decimation levels, landmark slots, eyeballs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipelines.bodies.joints import HAND_JOINTS, PICKED_NAMES, PICKED_SMPLH, PICKED_SMPLX
from pipelines.bodies.standin.assets import NUM_BODY, BaseMesh
from pipelines.bodies.standin.decimate import SymmetricDecimator
from pipelines.bodies.standin.eyes import NUM_EYE, unit_eye
from pipelines.bodies.standin.landmarks import MeanBody
from pipelines.bodies.standin.tpose import dominant_joint

NUM_SMPLX_BODY = 9383
NUM_SMPLH = 6890
PYRAMID = (6890, 1723, 431)
_FRONT_OF_EYE = {"left": 9448 - 9383, "right": 9929 - 9929}
"""Number within each eyeball that smplx takes for the eye (vertices 9448 and 9929)."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Which source vertex each numbered vertex is, and the faces."""

    smplx_source: Int[np.ndarray, "10475"]
    """Row among the posed vertices (surface, left eye, right eye)."""
    smplx_faces: Int[np.ndarray, "20908 3"]
    smplh_source: Int[np.ndarray, "6890"]
    smplh_faces: Int[np.ndarray, "13776 3"]
    pyramid_ids: tuple[Int[np.ndarray, "..."], ...]
    """SMPL+H ids of the 1723 and 431 levels."""
    pyramid_faces: tuple[Int[np.ndarray, "..."], ...]
    """Their faces, numbered within the level."""
    num_unpaired: int

    @property
    def smplx_of_smplh(self) -> Int[np.ndarray, "6890"]:
        """SMPL-X id of every SMPL+H vertex (SMPL+H is a subset)."""
        position = {int(source): k for k, source in enumerate(self.smplx_source)}
        return np.array([position[int(source)] for source in self.smplh_source])


def build_topology(body: MeanBody, mesh: BaseMesh, landmarks: dict[str, int]) -> Topology:
    """Decimate once with nested levels and number the vertices as the formats ask."""
    decimator = SymmetricDecimator(
        body.surface,
        symmetric_triangles(body.surface, mesh),
        body.mirror,
        _importance(body, landmarks),
        set(landmarks.values()),
    )
    levels = {count: decimator.reduce_to(count) for count in (NUM_SMPLX_BODY, *PYRAMID)}
    order = _numbering_order(body)
    fixed = dict(zip(PICKED_NAMES, PICKED_SMPLX, strict=True))
    fixed = {name: slot for name, slot in fixed.items() if slot < NUM_SMPLX_BODY}
    surface = _number(levels[NUM_SMPLX_BODY][0], fixed, landmarks, order)
    fixed = dict(zip(PICKED_NAMES, PICKED_SMPLH, strict=True))
    smplh = _number(levels[NUM_SMPLH][0], fixed, landmarks, order)
    eye_sources, eye_faces = _eyes()
    pyramid_ids = tuple(np.sort(_rows_in(smplh, levels[count][0])) for count in PYRAMID[1:])
    return Topology(
        smplx_source=np.concatenate([surface, eye_sources]),
        smplx_faces=np.concatenate([_rows_in(surface, levels[NUM_SMPLX_BODY][1]), eye_faces]),
        smplh_source=smplh,
        smplh_faces=_rows_in(smplh, levels[NUM_SMPLH][1]),
        pyramid_ids=pyramid_ids,
        pyramid_faces=tuple(
            np.searchsorted(ids, _rows_in(smplh, levels[count][1]))
            for ids, count in zip(pyramid_ids, PYRAMID[1:], strict=True)
        ),
        num_unpaired=decimator.num_unpaired,
    )


def symmetric_triangles(
    surface: Float[np.ndarray, "body 3"], mesh: BaseMesh
) -> Int[np.ndarray, "triangles 3"]:
    """Split every quad along its shorter diagonal, its mirror image along the mirrored one."""
    quads = mesh.quads
    first = np.linalg.norm(surface[quads[:, 0]] - surface[quads[:, 2]], axis=1)
    second = np.linalg.norm(surface[quads[:, 1]] - surface[quads[:, 3]], axis=1)
    row_of = {tuple(sorted(quad)): row for row, quad in enumerate(quads.tolist())}
    triangles: list[tuple[int, ...]] = []
    for row, (a, b, c, d) in enumerate(quads.tolist()):
        partner = row_of[tuple(sorted(mesh.mirror[[a, b, c, d]].tolist()))]
        if partner < row:
            continue
        pair = ((a, b, c), (a, c, d)) if first[row] <= second[row] else ((a, b, d), (b, c, d))
        triangles += pair
        if partner != row:
            # A mirror image turns the other way round.
            triangles += [tuple(mesh.mirror[list(reversed(corners))].tolist()) for corners in pair]
    return np.array(triangles)


def _importance(body: MeanBody, landmarks: dict[str, int]) -> Float[np.ndarray, " body"]:
    surface, jaw = body.surface, body.joint("jaw")
    head = body.belongs_to("head", "jaw")[:NUM_BODY]
    importance = np.ones(NUM_BODY)
    importance[body.belongs_to(*HAND_JOINTS)[:NUM_BODY]] = 3.0
    importance[body.belongs_to("left_wrist", "right_wrist")[:NUM_BODY]] = 2.0
    importance[head] = 6.0
    mouth_cavity = (
        head
        & (surface[:, 2] < surface[landmarks["nose"], 2] - 0.035)
        & (np.abs(surface[:, 0]) < 0.03)
        & (surface[:, 1] < jaw[1])
        & (surface[:, 1] > jaw[1] - 0.08)
        & (surface[:, 2] > jaw[2] - 0.03)
    )
    importance[mouth_cavity] = 0.5
    return importance


def _numbering_order(body: MeanBody) -> Int[np.ndarray, " body"]:
    """Rank of each surface vertex: by dominant joint, then from top to bottom, then by x."""
    surface = body.surface
    order = np.lexsort((surface[:, 0], -surface[:, 1], dominant_joint(body.weights)[:NUM_BODY]))
    rank = np.empty(NUM_BODY, np.int64)
    rank[order] = np.arange(NUM_BODY)
    return rank


def _number(
    kept: Int[np.ndarray, " kept"],
    fixed: dict[str, int],
    landmarks: dict[str, int],
    rank: Int[np.ndarray, " body"],
) -> Int[np.ndarray, " kept"]:
    """Source vertex of each number: landmarks in their fixed slots, the rest in rank order."""
    sources = np.full(len(kept), -1)
    for name, slot in fixed.items():
        sources[slot] = landmarks[name]
    rest = np.setdiff1d(kept, [landmarks[name] for name in fixed])
    sources[sources < 0] = rest[np.argsort(rank[rest])]
    return sources


def _rows_in(
    sources: Int[np.ndarray, " kept"], ids: Int[np.ndarray, "*shape"]
) -> Int[np.ndarray, "*shape"]:
    row = np.full(NUM_BODY, -1)
    row[sources] = np.arange(len(sources))
    return row[ids]


def _eyes() -> tuple[Int[np.ndarray, "1092"], Int[np.ndarray, "2146 3"]]:
    """Sources and faces of both eyeballs, the front vertex moved to its fixed number."""
    points, faces = unit_eye()
    front = int(np.argmax(points[:, 2]))
    sources, numbered = [], []
    for side, name in enumerate(("left", "right")):
        order = np.arange(NUM_EYE)
        slot = _FRONT_OF_EYE[name]
        order[[front, slot]] = order[[slot, front]]
        sources.append(NUM_BODY + side * NUM_EYE + order)
        own = np.argsort(order)[faces] + NUM_SMPLX_BODY + side * NUM_EYE
        numbered.append(own if side == 0 else own[:, ::-1])  # the right eye is a mirror image
    return np.concatenate(sources), np.concatenate(numbered)

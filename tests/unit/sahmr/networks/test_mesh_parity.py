"""METRO and the mesh recovery network give the recorded numbers; both share most of their weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sahmr.networks.mesh_recovery import MeshRecovery
from sahmr.networks.metro import Metro, crop_projection
from sahmr.networks.official_names import MESH_RECOVERY, METRO, NameTable
from sahmr.types import BodyTemplate, ContactPoints, eight_categories


@pytest.fixture(scope="module")
def weights(official_shapes, network_weights):
    """Used tensors of both networks under their official names."""
    shapes = official_shapes("metro_3dpw") | official_shapes("sahmr", prefix="metro_enhanced.")
    return network_weights({k: s for k, s in shapes.items() if not MESH_RECOVERY.is_unused(k)})


def fill(build, table: NameTable, weights):
    with torch.device("meta"):
        network = build().eval()
    wanted = {table.official(name): name for name in network.state_dict()}
    network.load_state_dict({name: weights[key] for key, name in wanted.items()}, assign=True)
    return network


def draw_inputs(rng, batch):
    images = torch.from_numpy(rng.standard_normal((batch, 3, 224, 224))).float()
    joints = torch.from_numpy(0.3 * rng.standard_normal((1, 14, 3))[0]).float()
    vertices = torch.from_numpy(0.3 * rng.standard_normal((1, 431, 3))[0]).float()
    return images, BodyTemplate(joints, vertices)


def test_metro_equals_the_official_one(network_golden, weights):
    golden = network_golden("metro_baseline")
    images, template = draw_inputs(golden.rng(), int(golden["batch"]))
    with torch.inference_mode():
        found = fill(Metro, METRO, weights)(images, template)
    golden.check("cam", found.camera)
    golden.check("joints14", found.joints)
    golden.check("verts431", found.coarse)
    golden.check("verts1723", found.middle)
    golden.check("verts6890", found.full)
    # The camera's rounding is multiplied by 112 px: in float32 any order of the sums is off by up to 5e-5.
    projected = crop_projection(found.joints, found.camera, 224)
    golden.check("proj2d_of_joints14", projected, tolerance=1e-4)


def test_mesh_recovery_equals_the_official_one(network_golden, weights):
    golden = network_golden("metro_enhanced")
    rng, n_valid = golden.rng(), golden["n_valid"]
    images, template = draw_inputs(rng, len(n_valid))
    points = torch.from_numpy(0.5 * rng.standard_normal((len(n_valid), 500, 3))).float()
    category = rng.integers(0, 8, (len(n_valid), 500))
    for sample, count in enumerate(n_valid):
        category[sample, count:] = 0
    contact = ContactPoints(points, torch.from_numpy(category))
    part = np.arange(431) % 9
    categories = eight_categories(torch.from_numpy(np.where(part < 8, part, 0)))
    with torch.inference_mode():
        found = fill(MeshRecovery, MESH_RECOVERY, weights)(images, contact, template, categories)
    for stage in range(3):
        golden.check(f"cpose_img_feat_{stage}", found.vertex_features[stage])
        golden.check(f"cpose_cp_feat_{stage}", found.scene_features[stage])
    golden.check("pred_verts", found.vertices_root)
    golden.check("pred_corr_pc", found.scene_points_root)

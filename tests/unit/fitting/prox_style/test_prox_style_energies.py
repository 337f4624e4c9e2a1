"""PROX's energies against numbers recorded from PROX's own code, and against figures made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.artifacts import read_npz
from pipelines.errors import DataInvalid
from pipelines.fitting.prox_style import energies as energies
from pipelines.fitting.prox_style.energies import VertexPairs
from pipelines.fitting.prox_style.pairs import (
    ContactScene,
    NearestInScene,
    ScanPoints,
    body_pairs,
    contact_angles_deg,
    contact_pairs,
    scan_pairs,
    visible_vertices,
)
from pipelines.fitting.prox_style.settings import ProxStyleSettings, StageWeights, proxd_stages
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points
from pipelines.records import SceneScan

GOLDENS = Path(__file__).parents[3] / "goldens" / "prox_fitting.npz"
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
SETTINGS = ProxStyleSettings(bending_exponent_cap=None)
UNWEIGHTED = StageWeights(
    hand_joints=1.0, face_joints=1.0, body_pose=1.0, shape=1.0, jaw=1.0, scan_to_body=1.0
)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return read_npz(GOLDENS)


class Toy:
    """The golden scene and its two frames as tensors."""

    def __init__(self, golden: dict[str, Any], dtype: torch.dtype) -> None:
        def frames(name: str) -> torch.Tensor:
            return torch.as_tensor(golden[f"in/frames/{name}"], dtype=dtype)

        self.vertices = frames("vertices_camera").requires_grad_()
        self.joints = frames("joints_camera").requires_grad_()
        self.full_pose = frames("full_pose").requires_grad_()
        self.latent, self.betas = frames("pose_embedding").requires_grad_(), frames("betas")
        self.expression, self.jaw = frames("expression"), frames("jaw_pose").requires_grad_()
        self.hands = (frames("left_hand_pose45"), frames("right_hand_pose45"))
        self.keypoints, self.confidence = frames("keypoints"), frames("confidence")
        self.faces = torch.as_tensor(golden["in/body/faces"])
        focal, center = golden["in/camera/focal"], golden["in/camera/center"]
        K = [[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]]
        self.K = torch.tensor(K, dtype=dtype)
        self.T_world_from_camera = torch.as_tensor(golden["in/scene/cam2world"], dtype=dtype)
        self.sdf = SdfGrid(
            *(
                torch.as_tensor(golden[f"in/scene/{name}"], dtype=dtype)
                for name in ("sdf", "grid_min", "grid_max")
            )
        )
        normals = torch.as_tensor(golden["in/scene/sdf_normals"], dtype=dtype)
        self.normal_lengths = normals.norm(dim=-1)
        self.pairs = self._pairs(golden)

    @property
    def vertices_world(self) -> torch.Tensor:
        return transform_points(self.T_world_from_camera, self.vertices)

    def _pairs(self, golden: dict[str, Any]) -> SimpleNamespace:
        head = set(golden["in/body/head_vertex_ids"].tolist())
        s2m, m2s, found = [], [], []
        for frame, count in enumerate(golden["in/frames/scan_count"]):
            points = golden["in/frames/scan_points_camera"][frame, :count]
            scan = ScanPoints.build(points, num_full=int(count))
            body = self.vertices[frame].detach().numpy().astype(np.float64)
            ids = np.flatnonzero(visible_vertices(body, golden["in/body/faces"]))
            below_head = np.array([v for v in ids if v not in head])
            to_body, to_scan = scan_pairs(body, ids, scan), body_pairs(body, below_head, scan)
            found.append(SimpleNamespace(visible=ids, s2m=to_body, m2s=to_scan))
            s2m.append(self._list(frame, to_body, points))
            m2s.append(self._list(frame, below_head, points[to_scan]))
        scene = contact_scene(golden)
        scene = contact_scene(golden)
        contact = contact_pairs(
            self.vertices_world,
            self.faces,
            torch.as_tensor(golden["in/body/contact_vertex_ids"]),
            scene,
            [NearestInScene(scene, share=0.0) for _ in self.vertices],
            angle_deg=45.0,
        )
        return SimpleNamespace(s2m=_join(s2m), m2s=_join(m2s), contact=contact, found=found)

    def _list(self, frame: int, vertex: np.ndarray, target: np.ndarray) -> VertexPairs:
        return VertexPairs(
            torch.full((len(vertex),), frame),
            torch.as_tensor(vertex),
            torch.as_tensor(target).to(self.vertices),
            torch.ones(len(vertex), dtype=self.vertices.dtype),
        )

    def terms(self, stage: StageWeights) -> dict[str, torch.Tensor]:
        weights = energies.keypoint_weights(stage, official_hand_slice=True, dtype=self.K.dtype)
        jaw_axes = stage.jaw_axes if stage is not UNWEIGHTED else (1.0, 1.0, 1.0)
        return {
            "data": energies.data_energy(
                self.joints, self.keypoints, self.confidence, weights, self.K, 100.0
            ),
            "body_pose": energies.sum_of_squares(self.latent),
            "shape": energies.sum_of_squares(self.betas),
            "bending": energies.bending_energy(self.full_pose[:, 3:66]),
            "left_hand": energies.sum_of_squares(self.hands[0]),
            "right_hand": energies.sum_of_squares(self.hands[1]),
            "expression": energies.sum_of_squares(self.expression),
            "jaw": energies.jaw_energy(self.jaw, jaw_axes),
            "s2m": energies.depth_energy(self.vertices, self.pairs.s2m, 0.2),
            "m2s": energies.depth_energy(self.vertices, self.pairs.m2s, 0.5),
            "penetration": energies.penetration_energy(
                self.vertices_world, self.sdf, self.normal_lengths
            ),
            "contact": energies.contact_energy(self.vertices_world, self.pairs.contact, 0.05),
        }

    def weighted(self, stage: StageWeights) -> dict[str, torch.Tensor]:
        factors = stage.factors()
        return {name: factors[name] * value for name, value in self.terms(stage).items()}


def _join(lists: list[VertexPairs]) -> VertexPairs:
    return VertexPairs(
        *(torch.cat([getattr(pairs, name) for pairs in lists]) for name in VertexPairs.__slots__)
    )


def contact_scene(golden: dict[str, Any]) -> ContactScene:
    scene = SceneScan(
        name="toy",
        vertices_world=golden["in/scene/vertices"].astype(np.float64),
        faces=golden["in/scene/faces"],
        sdf_m=golden["in/scene/sdf"],
        sdf_min_world=golden["in/scene/grid_min"],
        sdf_max_world=golden["in/scene/grid_max"],
    )
    return ContactScene(scene)


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def toy(request: pytest.FixtureRequest, golden: dict[str, Any]) -> Toy:
    return Toy(golden, request.param)


def agree(found: torch.Tensor, expected: np.ndarray) -> None:
    tolerance = TOLERANCE[found.dtype]
    reference = torch.as_tensor(expected)
    scale = max(reference.abs().max().item(), 1e-12)
    assert (found.detach().double() - reference).abs().max().item() <= tolerance * scale


def test_settings_hold_the_weights_of_proxd(golden: dict[str, Any]) -> None:
    stages = proxd_stages()
    named = {
        "data": "data",
        "body_pose": "body_pose",
        "hand": "body_pose",
        "shape": "shape",
        "expression": "shape",
        "hand_joints": "hand_joints",
        "face_joints": "face_joints",
        "s2m": "scan_to_body",
        "m2s": "body_to_scan",
        "penetration": "penetration",
        "contact": "contact",
    }
    for name, attribute in named.items():
        expected = golden[f"in/weights/{name}"]
        np.testing.assert_allclose([getattr(stage, attribute) for stage in stages], expected)
    np.testing.assert_allclose([stage.jaw_axes for stage in stages], golden["in/weights/jaw"])


def test_unweighted_terms_agree_with_prox(toy: Toy, golden: dict[str, Any]) -> None:
    terms = toy.terms(UNWEIGHTED)
    assert tuple(golden["in/term_names"]) == energies.TERM_NAMES == tuple(terms)
    for column, name in enumerate(energies.TERM_NAMES):
        agree(terms[name], golden["out/terms_unweighted"][:, column])


def test_weighted_terms_and_totals_of_all_stages_agree_with_prox(
    toy: Toy, golden: dict[str, Any]
) -> None:
    for row, stage in enumerate(proxd_stages()):
        terms = toy.weighted(stage)
        agree(torch.stack(list(terms.values()), dim=1), golden["out/terms_weighted"][:, row])
        agree(torch.stack(list(terms.values())).sum(0), golden["out/total"][:, row])


@pytest.mark.parametrize("name", ["s2m", "m2s", "penetration", "contact"])
def test_vertex_gradients_agree_with_prox(toy: Toy, golden: dict[str, Any], name: str) -> None:
    (gradient,) = torch.autograd.grad(toy.terms(UNWEIGHTED)[name].sum(), toy.vertices)
    for frame in (0, 1):
        agree(gradient[frame], golden[f"out/frame{frame}/grad_vertices_{name}"])


@pytest.mark.parametrize("stage", [3, 7])
def test_gradients_of_the_weighted_total_agree_with_prox(
    toy: Toy, golden: dict[str, Any], stage: int
) -> None:
    total = torch.stack(list(toy.weighted(proxd_stages()[stage - 1]).values())).sum()
    inputs = {
        "vertices_camera": toy.vertices,
        "joints_camera": toy.joints,
        "pose_embedding": toy.latent,
        "jaw_pose": toy.jaw,
        "full_pose": toy.full_pose,
    }
    gradients = torch.autograd.grad(total, list(inputs.values()))
    for name, gradient in zip(inputs, gradients, strict=True):
        for frame in (0, 1):
            agree(gradient[frame], golden[f"out/frame{frame}/stage{stage}_grad_{name}"])


def test_visibility_and_nearest_neighbours_are_those_of_prox(toy: Toy, golden: dict[str, Any]) -> None:
    for frame, found in enumerate(toy.pairs.found):
        expected = {
            name: golden[f"out/frame{frame}/{name}"]
            for name in ("visible", "s2m_nearest_vertex", "m2s_nearest_scan")
        }
        np.testing.assert_array_equal(found.visible, np.flatnonzero(expected["visible"]))
        np.testing.assert_array_equal(found.s2m, expected["s2m_nearest_vertex"])
        np.testing.assert_array_equal(found.m2s, expected["m2s_nearest_scan"])


def test_contact_keeps_the_vertices_prox_keeps(toy: Toy, golden: dict[str, Any]) -> None:
    scene = contact_scene(golden)
    ids = golden["in/body/contact_vertex_ids"]
    for frame in (0, 1):
        pairs = toy.pairs.contact
        kept = golden[f"out/frame{frame}/contact_kept"]
        np.testing.assert_array_equal(pairs.vertex[pairs.frame == frame], ids[kept])
        search = NearestInScene(scene, share=0.0)
        nearest = search.query(toy.vertices_world[frame, ids].detach().double().numpy())
        np.testing.assert_array_equal(nearest, golden[f"out/frame{frame}/contact_nearest_scene_vertex"])


def test_scene_normals_are_area_weighted(golden: dict[str, Any]) -> None:
    scene = contact_scene(golden)
    np.testing.assert_allclose(
        scene.normals_world, golden["out/scene_vertex_normals_area_weighted"], atol=1e-12
    )


def test_camera_stage_agrees_with_prox(golden: dict[str, Any]) -> None:
    toy = Toy(golden, torch.float64)
    for frame in (0, 1):
        joints = toy.joints[frame : frame + 1]
        initial, transl = (
            torch.as_tensor(golden[f"in/camera_stage/frame{frame}/{name}"], dtype=torch.float64)
            for name in ("trans_estimation", "transl")
        )
        transl.requires_grad_()
        residuals = energies.camera_residuals(
            joints,
            toy.keypoints[frame : frame + 1],
            torch.ones(1, 118, dtype=torch.float64),
            transl,
            initial,
            toy.K,
            100.0,
        )
        energy = residuals.square().sum(1)
        agree(energy, golden[f"out/camera_stage/frame{frame}/loss"][None])
        grad_joints, grad_transl = torch.autograd.grad(energy.sum(), [toy.joints, transl])
        agree(grad_joints[frame], golden[f"out/camera_stage/frame{frame}/grad_joints"])
        agree(grad_transl, golden[f"out/camera_stage/frame{frame}/grad_transl"])


def test_robust_pixel_error_by_hand() -> None:
    """One joint, weight 2, confidence 0.5, 10 px off in x: 1 x 99.0099."""
    K = torch.tensor([[1000.0, 0, 0], [0, 1000.0, 0], [0, 0, 1]], dtype=torch.float64)
    joints = torch.zeros(1, 118, 3, dtype=torch.float64)
    joints[..., 2] = 1.0
    keypoints = torch.zeros(1, 118, 2, dtype=torch.float64)
    confidence = torch.zeros(1, 118, dtype=torch.float64)
    keypoints[0, 25, 0], confidence[0, 25] = 10.0, 0.5
    weights = energies.keypoint_weights(proxd_stages()[4], official_hand_slice=True, dtype=torch.float64)
    energy = energies.data_energy(joints, keypoints, confidence, weights, K, 100.0)
    assert energy.item() == pytest.approx(99.0099, abs=1e-4)


def test_scan_to_body_by_hand() -> None:
    """Points 0, 0.2 and 2 m from the only vertex: 0 + 0.02 + 0.0396040."""
    targets = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 2.0, 0]], dtype=torch.float64)
    zeros = torch.zeros(3, dtype=torch.int64)
    pairs = VertexPairs(zeros, zeros, targets, torch.ones(3, dtype=torch.float64))
    vertices = torch.zeros(1, 1, 3, dtype=torch.float64, requires_grad=True)
    energy = energies.depth_energy(vertices, pairs, 0.2)
    assert 500 * energy.item() == pytest.approx(29.8020, abs=1e-4)
    (gradient,) = torch.autograd.grad(energy.sum(), vertices)
    assert torch.isfinite(gradient).all()


def test_jaw_and_bending_by_hand() -> None:
    stage = proxd_stages()[6]
    jaw = torch.tensor([[0.1, 0.01, 0.0]], dtype=torch.float64)
    assert energies.jaw_energy(jaw, stage.jaw_axes).item() == pytest.approx(45.6968)
    still = energies.bending_energy(torch.zeros(1, 63, dtype=torch.float64)).item()
    assert still == 4.0
    assert still * stage.factors()["bending"] == pytest.approx(918.404, rel=2e-6)


def test_capped_bending_is_the_official_one_below_the_cap_and_linear_beyond() -> None:
    pose = torch.zeros(3, 63, dtype=torch.float64)
    pose[:, 52] = torch.tensor([1.0, 3.0, 5.0])
    official, capped = energies.bending_energy(pose), energies.bending_energy(pose, 3.0)
    assert torch.equal(official[:2], capped[:2])
    assert capped[2].item() == pytest.approx(3 + np.exp(3.0) * 3)
    pose[:, 52] = 1e4
    assert torch.isfinite(energies.bending_energy(pose, 3.0)).all()


def test_first_nine_face_points_follow_the_hands_only_with_the_official_slice() -> None:
    stage = proxd_stages()[3]
    official = energies.keypoint_weights(stage, official_hand_slice=True)
    corrected = energies.keypoint_weights(stage, official_hand_slice=False)
    assert torch.equal(official != corrected, torch.arange(118).clamp(67, 75) == torch.arange(118))
    assert (official[[1, 9, 12]] == 0).all()


def test_a_frame_that_keeps_no_contact_vertex_has_no_contact_energy() -> None:
    nobody = torch.zeros(0, dtype=torch.int64)
    pairs = VertexPairs(nobody, nobody, torch.zeros(0, 3), torch.zeros(0))
    assert energies.contact_energy(torch.zeros(2, 5, 3), pairs, 0.05).tolist() == [0.0, 0.0]


def test_antiparallel_normals_count_as_parallel() -> None:
    up = np.array([[0.0, 0.0, 1.0]])
    tilted = np.array([[np.sin(np.radians(30)), 0.0, np.cos(np.radians(30))]])
    assert contact_angles_deg(up, -up) == 0.0
    assert contact_angles_deg(tilted, -up) == pytest.approx(30.0)


def test_a_frame_without_points_is_refused() -> None:
    with pytest.raises(DataInvalid, match="without person points"):
        ScanPoints.build(np.zeros((0, 3)), num_full=0)


def test_subsampled_points_carry_the_weight_of_the_full_scan() -> None:
    assert ScanPoints.build(np.zeros((4, 3)), num_full=10).weight == 2.5

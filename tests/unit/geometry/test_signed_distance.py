from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points
from pipelines.records import SceneScan


def grid_of(values: np.ndarray, low: float = 0.0, high: float = 2.0) -> SdfGrid:
    corner = torch.full((3,), low, dtype=torch.float64)
    return SdfGrid(torch.as_tensor(values, dtype=torch.float64), corner, corner * 0 + high)


def three_cubed(weights: tuple[int, int, int]) -> np.ndarray:
    i, j, k = np.mgrid[:3, :3, :3].astype(float)
    return weights[0] * i + weights[1] * j + weights[2] * k


@pytest.mark.parametrize(("x", "expected"), [(0.25, -0.75), (0.5, -0.5), (1.0, 0.0), (1.5, 0.5)])
def test_cell_centres_lie_on_the_box(x, expected):
    """Datasets page 1.11: the other convention (align_corners=False) gives -1, -0.75, 0, 0.75."""
    grid = grid_of(three_cubed((1, 0, 0)) - 1)
    assert grid.sample(torch.tensor([x, 1.0, 1.0], dtype=torch.float64)).item() == pytest.approx(
        expected
    )


def test_axes_are_x_y_z():
    """Reversed axes would give 120."""
    grid = grid_of(three_cubed((1, 10, 100)))
    assert grid.sample(torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)).item() == pytest.approx(21)


def test_outside_takes_the_border_value():
    grid = grid_of(three_cubed((1, 0, 0)) - 1)
    assert grid.sample(torch.tensor([5.0, 1.0, 1.0], dtype=torch.float64)).item() == pytest.approx(1)
    assert grid.sample(torch.tensor([-5.0, 1.0, 1.0], dtype=torch.float64)).item() == pytest.approx(-1)


def test_agrees_with_the_recorded_penetration(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        arrays = {k: torch.as_tensor(golden[f"in/prox/{k}"]).double() for k in
                  ("sdf", "grid_min", "grid_max", "cam2world", "verts_cam")}  # fmt: skip
        expected = float(golden["out/prox/sdf_penetration_unitnormals_aligncorners1"])
        gradient = golden["out/prox/sdf_penetration_grad_aligncorners1"]
    grid = SdfGrid(arrays["sdf"], arrays["grid_min"], arrays["grid_max"])
    vertices = arrays["verts_cam"].requires_grad_()
    distance = grid.sample(transform_points(arrays["cam2world"], vertices))
    energy = -distance.clamp(max=0).sum()
    energy.backward()
    assert energy.item() == pytest.approx(expected, rel=1e-9)
    assert vertices.grad is not None
    np.testing.assert_allclose(vertices.grad.numpy(), gradient, atol=1e-9 * np.abs(gradient).max())


@given(
    st.tuples(*[st.floats(-1, 1)] * 4),
    st.lists(st.tuples(*[st.floats(-0.99, 0.99)] * 3), min_size=1, max_size=5),
)
def test_a_linear_field_is_sampled_exactly(coefficients, points):
    axis = np.linspace(-1, 1, 5)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    a, b, c, d = coefficients
    grid = grid_of(a * x + b * y + c * z + d, -1.0, 1.0)
    sampled = grid.sample(torch.tensor(points, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(sampled, np.array(points) @ (a, b, c) + d, atol=1e-9)


def test_boxes_with_unequal_sides_and_batches_of_any_shape():
    scene = SceneScan(
        name="box",
        vertices_world=np.zeros((3, 3)),
        faces=np.array([[0, 1, 2]]),
        sdf_m=np.broadcast_to(np.arange(4, dtype=np.float32)[None, None], (2, 3, 4)).copy(),
        sdf_min_world=np.array([0.0, 0.0, 0.0]),
        sdf_max_world=np.array([1.0, 2.0, 6.0]),
    )
    points = torch.tensor([0.5, 1.0, 3.0]).expand(2, 5, 3)
    sampled = SdfGrid.from_scene(scene).sample(points)
    assert sampled.shape == (2, 5)
    np.testing.assert_allclose(sampled.numpy(), 1.5, atol=1e-6)


def test_gradient_inside_a_cell():
    values = np.random.default_rng(0).standard_normal((4, 4, 4))
    grid = grid_of(values)
    points = (
        torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1.8 + 0.1
    )
    assert torch.autograd.gradcheck(grid.sample, points.requires_grad_())

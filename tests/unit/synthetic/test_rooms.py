from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh

from pipelines.errors import FittingFailed
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import transform_points
from pipelines.synthetic.furniture import FurnitureNeed
from pipelines.synthetic.layout import RoomRequest, arrange_room
from pipelines.synthetic.primitives import union_distance
from pipelines.synthetic.rooms import BodySweep, Room, check_contact
from pipelines.synthetic.scan import ply_bytes, room_mesh, scan_room, sdf_grid, sdf_normals
from pipelines.synthetic.sensor import kinect_rig
from pipelines.synthetic.visibility import LIMB_RADIUS_M, hidden_by_scene, merge_meshes

SEAT = FurnitureNeed("seat", (0.0, 0.0), 0.4, (0.5, 1.2, 0.45))


def seated_sweep() -> BodySweep:
    """A stand-in for a body: a column that rests on the seat, moving a little."""
    rng = np.random.default_rng(5)
    column = rng.uniform([-0.12, -0.15, 0.449], [0.12, 0.15, 1.25], (600, 3))
    column[0] = [0.0, 0.0, 0.449]
    vertices = np.stack([column + np.array([0.01 * k, 0, 0]) for k in range(10)])
    joints = np.tile(np.linspace([0, 0, 0.5], [0, 0, 1.2], 22), (10, 1, 1))
    return BodySweep(vertices, joints)


def arrange(seed: int = 0, **request: float) -> Room:
    wanted = RoomRequest((SEAT,), num_clutter=3, **request)  # type: ignore[arg-type]
    return arrange_room(wanted, seated_sweep(), kinect_rig(), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def room() -> Room:
    return arrange()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_cuts_into_the_body_but_the_seat_is_touched(seed: int) -> None:
    distance = union_distance(arrange(seed).solids, seated_sweep().points)
    assert -0.005 < distance.min() < 0.002


def test_seat_top_is_where_the_motion_needs_it(room: Room) -> None:
    assert union_distance(room.solids, np.array([[0.0, 0.0, 0.5]]))[0] == pytest.approx(0.05)
    assert union_distance(room.solids, np.array([[0.0, 0.0, 0.44]]))[0] == pytest.approx(-0.01)


def test_a_room_that_cuts_is_refused(room: Room) -> None:
    sunk = seated_sweep()
    sunk = BodySweep(sunk.vertices - [0, 0, 0.03], sunk.joints)
    with pytest.raises(FittingFailed, match="cuts 31 mm into the body") as error:
        check_contact(room.solids, sunk)
    assert "seat" in str(error.value)


def test_camera_looks_down_and_the_floor_is_below_it(room: Room) -> None:
    forward, height = room.T_room_from_camera[2, 2], room.T_room_from_camera[2, 3]
    assert -0.8 < forward < -0.1
    assert 1.6 <= height <= 2.0
    normal, offset = room.floor_camera[:3], room.floor_camera[3]
    assert normal[1] < -0.5
    assert offset == pytest.approx(-height)


def test_world_floor_is_below_zero_and_level(room: Room) -> None:
    corners = transform_points(room.T_world_from_room, np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    assert corners[0, 2] < -0.3
    np.testing.assert_allclose(corners[:, 2], corners[0, 2])


def test_grid_is_exact_and_knows_the_floor_and_walls_beyond_the_scan(room: Room) -> None:
    grid, first, last = sdf_grid(room, 40)
    rng = np.random.default_rng(1)
    index = rng.integers(0, 40, (500, 3))
    world = first + index / 39 * (last - first)
    room_points = transform_points(np.linalg.inv(room.T_world_from_room), world)
    expected = union_distance(room.solids, room_points)
    np.testing.assert_allclose(grid[tuple(index.T)], expected, atol=1e-5)
    below = np.array([[0.5, 0.5, -0.25]])
    assert union_distance(room.solids, below)[0] == pytest.approx(-0.25)
    assert grid.min() < -0.2
    assert (last - first > room.max_room - room.min_room).all()


def test_normals_point_out_of_the_floor(room: Room) -> None:
    grid, first, last = sdf_grid(room, 24)
    normals = sdf_normals(grid, first, last)
    assert normals.shape == (24, 24, 24, 3)
    np.testing.assert_allclose(normals[12, 12, 0], [0, 0, 1], atol=0.05)


def test_scan_lies_on_the_surface_with_holes_and_survives_the_file(room: Room) -> None:
    vertices, faces, colors = scan_room(room, 0.05, np.random.default_rng(2))
    points = transform_points(np.linalg.inv(room.T_world_from_room), vertices.astype(float))
    distance = union_distance(room.solids, points)
    assert np.median(np.abs(distance)) < 0.004
    assert np.quantile(np.abs(distance), 0.95) < 0.015
    assert len(faces) < 0.99 * len(room_mesh(room.surfaces, 0.05).faces)
    loaded = trimesh.load(io.BytesIO(ply_bytes(vertices, faces, colors)), "ply", process=False)
    np.testing.assert_array_equal(loaded.vertices.astype(np.float32), vertices)
    np.testing.assert_array_equal(loaded.faces, faces)
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], colors)


def test_something_stands_in_the_way_only_when_asked() -> None:
    shares = []
    for wanted in (0.0, 0.6):
        made = arrange(4, occluded_frames=wanted)
        mesh = room_mesh(made.surfaces, 0.1)
        caster = RayCaster(mesh.vertices, mesh.faces)
        camera = made.T_room_from_camera[:3, 3]
        hidden = hidden_by_scene(caster, camera, seated_sweep().joints, LIMB_RADIUS_M)
        shares.append(float((hidden.mean(axis=1) > 0.25).mean()))
    assert shares[0] == 0.0
    assert shares[1] > 0.3


def test_a_joint_behind_a_wall_is_hidden_and_one_before_it_is_not() -> None:
    vertices = np.array([[1.0, -5, -5], [1, 5, -5], [1, 0, 9]])
    caster = RayCaster(*merge_meshes([(vertices, np.array([[0, 1, 2]]))])[:2])
    joints = np.tile(np.array([[2.0, 0, 0]]), (1, 22, 1))
    joints[0, 3] = [0.8, 0, 0]
    hidden = hidden_by_scene(caster, np.zeros(3), joints, LIMB_RADIUS_M)
    assert not hidden[0, 3]
    assert hidden[0].sum() == 21

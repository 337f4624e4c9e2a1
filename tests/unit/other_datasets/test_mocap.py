"""ASF/AMC and BVH by hand, and retargeting against the CMU clips of the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.artifacts import read_npz
from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.mocap.asf_amc import read_asf_amc
from pipelines.other_datasets.mocap.bvh import read_bvh
from pipelines.other_datasets.mocap.motion import CapturedMotion
from pipelines.other_datasets.mocap.retarget import captured_clip, retarget

UNIT_M = 0.0254 / 0.45
ASF = """# comment
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lower
     direction 1 0 0
     length 5
     axis 0 0 90 XYZ
    dof rx
    limits (-10 170)
  end
  begin
     id 2
     name upper
     direction 1 0 0
     length 10
     axis 0 0 0 XYZ
    dof rx ry rz
    limits (-60.0 20.0)
           (-30.0 30.0)
           (-30.0 30.0)
  end
  begin
     id 3
     name stiff
     direction 0 1 0
     length 2
     axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root upper stiff
    upper lower
  end
"""
AMC = """#!OML:ASF somebody.asf
:FULLY-SPECIFIED
:DEGREES
1
root 0 17 0 0 90 0
upper 0 0 0
lower 90
2
root 0 17 0 90 90 0
upper 0 0 90
lower 0
"""
BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT upper
  {
    OFFSET 0 2 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT lower
    {
      OFFSET 10 0 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      End Site
      {
        OFFSET 5 0 0
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: .0083333
0 17 0 0 0 0  0 0 0  0 0 0
1 17 0 90 0 0  0 90 0  0 0 90
"""


@pytest.fixture
def asf_amc(tmp_path: Path) -> tuple[Path, Path]:
    asf, amc = tmp_path / "01.asf", tmp_path / "01_01.amc"
    asf.write_text(ASF)
    amc.write_text(AMC)
    return asf, amc


def test_asf_bones_turn_about_their_own_axes(asf_amc: tuple[Path, Path]) -> None:
    motion = read_asf_amc(*asf_amc)
    assert motion.names == ("root", "upper", "stiff", "lower")
    assert motion.parents == (-1, 0, 0, 1)
    ends = motion.bone_ends() / UNIT_M
    # Root turned by 90 degrees about y: x -> -z. The lower bone's own x is the world's y.
    expected = [[0, 17, 0], [0, 17, -10], [0, 19, 0], [-5, 17, -10]]
    assert np.allclose(ends[0], expected)


def test_asf_angles_turn_about_x_before_y(asf_amc: tuple[Path, Path]) -> None:
    motion = read_asf_amc(*asf_amc)
    assert np.allclose(motion.rotations[1, 0] @ [0, 1, 0], [1, 0, 0])  # y -> z, then z -> x
    # In the root's frame the upper bone points along y.
    assert np.allclose((motion.bone_ends()[1, 1] - motion.root_m[1]) / UNIT_M, [10, 0, 0])


def test_a_motion_of_another_skeleton_is_refused(asf_amc: tuple[Path, Path]) -> None:
    asf, amc = asf_amc
    amc.write_text(AMC.replace("upper 0 0 90", "upper 0 0"))
    with pytest.raises(DataInvalid, match="does not fit the skeleton"):
        read_asf_amc(asf, amc)
    amc.write_text(":DEGREES\n")
    with pytest.raises(DataInvalid, match="no frame"):
        read_asf_amc(asf, amc)
    asf.write_text(ASF.replace("TX TY TZ RX RY RZ", "RX RY RZ TX TY TZ"))
    with pytest.raises(DataInvalid, match="ASF file is not understood"):
        read_asf_amc(asf, amc)
    with pytest.raises(DataMissing, match="not found"):
        read_asf_amc(asf.with_name("02.asf"), amc)


def test_bvh_channels_turn_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "walk.bvh"
    path.write_text(BVH)
    motion = read_bvh(path)
    assert motion.names == ("Hips", "upper", "lower")
    assert motion.frame_rate_hz == pytest.approx(120, rel=1e-3)
    ends = motion.bone_ends() / UNIT_M
    assert np.allclose(ends[0], [[0, 17, 0], [10, 19, 0], [15, 19, 0]])
    # Frame 2: root about z (x -> y, y -> -x), upper about y (x -> -z, in the root's frame).
    assert np.allclose(ends[1], [[1, 17, 0], [-1, 17, -10], [-1, 17, -15]])
    lower = Rotation.from_matrix(motion.rotations[1, 2])
    expected = Rotation.from_euler("ZYX", [90, 90, 90], degrees=True)
    assert (lower.inv() * expected).magnitude() < 1e-6


@pytest.mark.parametrize(
    ("old", "new"), [("Frames: 2", "Frames: 3"), ("MOTION", "ACTION"), ("OFFSET 10 0 0", "PLACE 10 0 0")]
)
def test_a_broken_bvh_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "walk.bvh"
    path.write_text(BVH.replace(old, new))
    with pytest.raises(DataInvalid, match="BVH file is not understood"):
        read_bvh(path)


@pytest.fixture(scope="module")
def walk(goldens_folder: Path) -> tuple[CapturedMotion, np.ndarray]:
    """Six frames of CMU 02_01, and their SMPL+H poses as the reference retargeted them."""
    golden = read_npz(goldens_folder / "cmu_02_01.npz")
    to_y_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    quats = golden["cmu_bone_quat_xyzw"].astype(np.float64)
    turned = to_y_up @ Rotation.from_quat(quats.reshape(-1, 4)).as_matrix().reshape(
        *quats.shape[:2], 3, 3
    )
    ends = golden["cmu_bone_end_m"] @ to_y_up.T
    parents = golden["cmu_parents"]
    bones = np.zeros((len(parents), 3))
    for bone, parent in enumerate(parents):
        if parent >= 0:
            bones[bone] = turned[0, bone].T @ (ends[0, bone] - ends[0, parent])
    starts = np.stack([bones[parent] if parent >= 0 else np.zeros(3) for parent in parents])
    motion = CapturedMotion(
        names=tuple(str(name) for name in golden["cmu_joint_names"]),
        parents=tuple(int(parent) for parent in parents),
        zero_bone_m=bones,
        zero_start_m=starts,
        rotations=turned,
        root_m=ends[:, 0].astype(np.float64),
        frame_rate_hz=2.0,
    )
    assert np.abs(motion.bone_ends() - ends).max() < 1e-5
    return motion, golden["poses"][:, :66].reshape(-1, 22, 3).astype(np.float64)


def test_retargeting_gives_the_reference_poses(
    walk: tuple[CapturedMotion, np.ndarray], files: BodyFiles
) -> None:
    motion, poses = walk
    rotvecs, transl = retarget(motion, files)
    found, expected = (Rotation.from_rotvec(p.reshape(-1, 3)) for p in (rotvecs, poses))
    degrees = np.degrees((found.inv() * expected).magnitude()).reshape(-1, 22)
    assert degrees[:, :20].max() < 0.05
    assert degrees.max() < 1.0  # wrists: the reference follows the middle finger, we the forearm
    way, captured = (
        transl[-1] - transl[0],
        (motion.root_m[-1] - motion.root_m[0])[[0, 2, 1]] * [1, -1, 1],
    )
    assert np.allclose(way / np.linalg.norm(way), captured / np.linalg.norm(captured), atol=1e-6)


def test_a_capture_becomes_a_clip_on_the_floor(
    walk: tuple[CapturedMotion, np.ndarray], files: BodyFiles
) -> None:
    motion, _ = walk
    still = CapturedMotion(
        motion.names,
        motion.parents,
        motion.zero_bone_m,
        motion.zero_start_m,
        np.repeat(motion.rotations[:1], 240, axis=0),
        np.repeat(motion.root_m[:1], 240, axis=0),
        120.0,
    )
    clip = captured_clip(still, "02_01", files)
    assert clip.rotvecs.shape == (60, 22, 3)
    assert clip.family == "02"
    assert clip.contacts is not None
    assert clip.contacts.any()
    nameless = CapturedMotion(
        tuple(f"bone{row}" for row in range(len(motion.names))),
        motion.parents,
        motion.zero_bone_m,
        motion.zero_start_m,
        motion.rotations,
        motion.root_m,
        120.0,
    )
    with pytest.raises(DataInvalid, match="no bone for pelvis"):
        retarget(nameless, files)

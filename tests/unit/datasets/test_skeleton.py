from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.datasets.skeleton import KINECT_JOINTS, read_skeletons
from pipelines.errors import DataInvalid


def write(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(content))
    return path


def test_joints_come_in_the_true_camera_frame(tmp_path):
    """A head 0.5 m above the sensor's axis, on the right of the mirrored image."""
    joints = {"Head": {"Position": [0.3, 0.5, 2.0], "State": "Tracked"},
              "FootLeft": {"Position": [0.1, -0.9, 2.1], "State": "Inferred"}}  # fmt: skip
    places, tracked = read_skeletons(write(tmp_path, {"Bodies": [{"Joints": joints}]}))
    head, foot = KINECT_JOINTS.index("Head"), KINECT_JOINTS.index("FootLeft")
    assert places[0, head].tolist() == [-0.3, -0.5, 2.0]
    assert tracked[0, head]
    assert places[0, foot, 1] == 0.9
    assert not tracked[0, foot]
    assert np.isnan(places[0, 0]).all()
    assert len(set(KINECT_JOINTS)) == 25


def test_nobody_is_no_error(tmp_path):
    places, tracked = read_skeletons(write(tmp_path, {"Bodies": []}))
    assert places.shape == (0, 25, 3)
    assert tracked.shape == (0, 25)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"Bodies": [{}]},
        {"Bodies": [{"Joints": {"Head": {"Position": [1, 2], "State": "Tracked"}}}]},
        {"Bodies": [{"Joints": {"Head": {"Position": [1, 2, 3]}}}]},
    ],
)
def test_other_content_is_refused_by_name(tmp_path, content):
    with pytest.raises(DataInvalid, match=r"s\.json"):
        read_skeletons(write(tmp_path, content))

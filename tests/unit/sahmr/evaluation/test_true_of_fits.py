"""Shards of fits whose bodies are off by a known shift, written anew with the true bodies."""

from dataclasses import fields, replace

import numpy as np
import pytest

from pipelines.bodies.files import resolve_body_files
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import SmplxParameters, SyntheticTruth
from pipelines.shards.collection import SelectionSettings, ShardCollection
from pipelines.shards.reader import ShardReader
from pipelines.shards.smplh_from_smplx import smplh_from_smplx
from pipelines.shards.writer import ShardSource, shard_path, write_shard
from pipelines.synthetic.truth import write_truth
from sahmr.data.collate import collate
from sahmr.data.dataset import TrainingSamples
from sahmr.evaluation.true_of_fits import write_true_of_fits

SHIFT = np.array([0.0, -0.3, 0.0], np.float32)
"""Off the floor: these fits touch nothing."""


def truth_of(samples):
    """SMPL-X bodies in the pose of the samples; the two models share the 22 body joints."""
    count = len(samples)
    values = {field.name: np.zeros((count, 3), np.float32) for field in fields(SmplxParameters)}
    for name, width in (
        ("betas", 10),
        ("expression", 10),
        ("left_hand_pose", 12),
        ("right_hand_pose", 12),
    ):
        values[name] = np.zeros((count, width), np.float32)
    for name in ("global_orient", "body_pose", "transl"):
        values[name] = np.stack([getattr(sample, name) for sample in samples])
    # The rest bodies have other origins: shift so that the SMPL+H bodies come out where the samples' are.
    converted = smplh_from_smplx(resolve_body_files(None), "male", SmplxParameters(**values)).parameters
    values["transl"] = 2 * values["transl"] - converted.transl
    return SyntheticTruth(
        recording=samples[0].recording,
        gender="male",
        motion_family="standing",
        frame_names=tuple(sample.frame for sample in samples),
        parameters=SmplxParameters(**values),
        person_present=np.ones(count, bool),
        joint_hidden=np.zeros((count, 22), bool),
        foot_contact=np.zeros((count, 4), bool),
        vertex_contact=np.zeros((count, 6890), bool),
        floor_camera=np.array([0.0, -1.0, 0.0, -1.2]),
        T_world_from_camera=samples[0].T_world_from_camera,
    )


@pytest.fixture
def fitted(eval_samples, tmp_path):
    """Two samples of one recording, the second rejected, and the truth of both."""
    own = [eval_samples.collection[row] for row in range(2)]
    nothing = {"vertex_category": np.zeros(6890, np.uint8)}
    fits = [replace(sample, transl=sample.transl + SHIFT, **nothing) for sample in own]
    fits[1] = replace(fits[1], weight=np.float32(0), reject_reason="penetration")
    folder = tmp_path / "fits"
    source = ShardSource("train-00000", "fit", "settings", {"made": "here"})
    scenes = [eval_samples.collection.scene_of(0)]
    write_shard(folder, source, lambda: iter(scenes), lambda: iter(fits))
    write_truth(tmp_path / "truth", truth_of(own))
    (folder / "splits.json").write_text('{"recordings": {"A_00034_01": "train"}}')
    return folder


def test_bodies_become_true_and_touch_again(fitted, eval_samples, yardstick, tmp_path):
    out = write_true_of_fits(fitted, tmp_path / "truth", tmp_path / "out")
    assert (out / "splits.json").is_file()
    reader = ShardReader(shard_path(out, "train-00000"))
    assert reader.kind == "truth"
    first, second = reader
    assert (first.weight, second.weight, second.reject_reason) == (1, 0, "penetration")
    assert set(np.unique(first.contact_category)) == {1, 2}  # both feet
    assert set(np.unique(first.vertex_category)) == {0, 1, 2}
    collection = ShardCollection([reader.path], SelectionSettings(use_rejected=True))
    written = yardstick.pose(collate([TrainingSamples(collection)[0]]))[0]
    true = yardstick.pose(collate([eval_samples[0]]))[0]
    # Other rest bodies: what matters is that the 30 cm are gone.
    assert float((written - true).norm(dim=1).mean()) < 0.06
    np.testing.assert_array_equal(first.crop_jpeg, eval_samples.collection[0].crop_jpeg)


def test_frames_and_recordings_must_have_a_truth(fitted, eval_samples, tmp_path):
    with pytest.raises(DataMissing, match="no truth for a recording"):
        write_true_of_fits(fitted, tmp_path / "nowhere", tmp_path / "out")
    write_truth(tmp_path / "truth", truth_of([eval_samples.collection[1]]))
    with pytest.raises(DataInvalid, match="not in the truth"):
        write_true_of_fits(fitted, tmp_path / "truth", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.h5"))

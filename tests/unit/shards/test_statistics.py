"""Counts of a set, and the index as another program reads it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shards.plan import PlannedShard
from pipelines.shards.statistics import INDEX_COLUMNS, Moments, describe_set, index_csv
from pipelines.shards.writer import ShardSource, write_shard


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 1000))
def test_moments_are_those_of_all_values_at_once(sizes, seed):
    rng = np.random.default_rng(seed)
    batches = [rng.normal(1000, 3, (size, 2)) for size in sizes]
    moments = Moments()
    for batch in batches:
        moments.add(batch)
    every = np.concatenate(batches)
    np.testing.assert_allclose(moments.as_json()["mean"], every.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(moments.as_json()["std"], every.std(axis=0), atol=1e-5)


def test_no_value_has_no_mean():
    assert Moments().as_json() == {"mean": None, "std": None}


@pytest.fixture
def described(tmp_path, make_sample, make_scene):
    """Four samples in two shards; one is rejected, all crops are of one colour."""
    grey = np.full((224, 224, 3), 51, np.uint8)
    crop = cv2.imencode(".jpg", grey)[1].reshape(-1)
    samples = [replace(make_sample(row), crop_jpeg=crop) for row in range(5)]
    scenes = [make_scene(name) for name in ("N3Office", "MPH16")]
    shards = []
    for name, split, rows in (("train-00000", "train", (0, 1, 2)), ("test-00000", "test", (3, 4))):
        chosen = [samples[row] for row in rows]
        source = ShardSource(name, "fit", "s", {})
        write_shard(tmp_path, source, lambda: scenes, lambda chosen=chosen: chosen)
        shards.append(PlannedShard(name, split, ()))
    return describe_set(tmp_path, shards)


def test_the_index_has_a_row_per_sample(described, make_sample):
    rows = list(csv.DictReader(io.StringIO(index_csv(described.index))))
    assert tuple(rows[0]) == INDEX_COLUMNS
    assert [(row["shard"], row["row"], row["split"]) for row in rows] == [
        *(("train-00000.h5", str(k), "train") for k in range(3)),
        *(("test-00000.h5", str(k), "test") for k in range(2)),
    ]
    assert [row["sample_id"] for row in rows] == [make_sample(row).sample_id for row in range(5)]
    assert rows[0]["expected_error_mm"] == ""  # not known; pandas reads NaN
    assert float(rows[1]["expected_error_mm"]) == 21
    assert rows[2]["reject_reason"] == "penetration"
    assert int(rows[3]["contact_points"]) == len(make_sample(3).contact_rows)


def test_the_statistics_count_what_may_be_used(described):
    found = described.statistics
    assert (found["samples"], found["usable"]) == (5, 4)
    assert found["rejected"] == {"penetration": 1}
    assert found["usable_by"]["split"] == {"test": 2, "train": 2}
    assert found["usable_by"]["subject"] == {"00034": 4}
    assert found["without_contact"] == 1
    training = found["training_samples"]
    np.testing.assert_allclose(training["rgb"]["mean"], [0.2] * 3, atol=2e-3)
    assert training["box_side_px"] == {"mean": 400, "std": 0}
    assert len(training["body_pose_rad"]["mean"]) == 63

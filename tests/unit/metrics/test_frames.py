from dataclasses import replace

import numpy as np
import pytest

from pipelines.errors import DataInvalid
from pipelines.metrics.frames import FrameSelection, select_frames


def _mask(*rows):
    mask = np.ones(12, dtype=bool)
    mask[list(rows)] = False
    return mask


def test_only_frames_valid_in_every_method_count_and_every_exclusion_has_its_reason(recording, shifted):
    a = replace(shifted(recording.truth_track, "a", (0, 0, 0)), valid=_mask(1, 2))
    b = replace(shifted(recording.truth_track, "b", (0, 0, 0)), valid=_mask(2, 3))
    observations = replace(recording.observations, person_seen=_mask(0, 1))
    selection, selected = select_frames({"a": a, "b": b}, observations)
    assert np.flatnonzero(~selected).tolist() == [0, 1, 2, 3]
    assert selection.excluded == {"person_not_seen": 2, "a: invalid fit": 1, "b: invalid fit": 1}
    assert selection.names == observations.frame_names[4:]
    assert sum(selection.excluded.values()) + len(selection.names) == selection.num_frames


def test_valid_share_is_of_the_frames_with_the_person_seen(recording, shifted):
    a = replace(shifted(recording.truth_track, "a", (0, 0, 0)), valid=_mask(1, 2))
    observations = replace(recording.observations, person_seen=_mask(0, 1))
    selection, _ = select_frames({"a": a}, observations)
    assert selection.valid_share("a") == pytest.approx(9 / 10)


def test_a_fit_that_claims_validity_but_is_not_finite_is_excluded(recording, shifted):
    track = shifted(recording.truth_track, "a", (0, 0, 0))
    track.joints_camera[4, 0, 0] = np.nan
    track.vertices_camera[5, 0, 0] = np.inf
    selection, selected = select_frames({"a": track}, recording.observations)
    assert selection.excluded == {"a: not finite": 2}
    assert np.flatnonzero(~selected).tolist() == [4, 5]


def test_frames_without_a_true_person_do_not_count(recording):
    truth = replace(recording.truth, person_present=_mask(11))
    selection, _ = select_frames({"a": recording.truth_track}, recording.observations, truth)
    assert selection.excluded == {"person_not_truly_present": 1}


def test_the_hash_names_the_frames(recording, shifted):
    first, _ = select_frames({"a": recording.truth_track}, recording.observations)
    again, _ = select_frames({"b": recording.truth_track}, recording.observations)
    fewer, _ = select_frames(
        {"a": replace(recording.truth_track, valid=_mask(3))}, recording.observations
    )
    assert first.content_hash == again.content_hash != fewer.content_hash
    assert FrameSelection.from_json(fewer.to_json()) == fewer


def test_a_track_of_another_length_is_refused(recording):
    short = recording.truth_track
    short = replace(
        short,
        vertices_camera=short.vertices_camera[:5],
        joints_camera=short.joints_camera[:5],
        keypoint_joints_camera=short.keypoint_joints_camera[:5],
        valid=short.valid[:5],
    )
    with pytest.raises(DataInvalid, match=r"differ in length[\s\S]*12 frames[\s\S]*humor 5"):
        select_frames({"humor": short}, recording.observations)


def test_truth_of_other_frames_is_refused(recording):
    truth = replace(recording.truth, frame_names=("s002_frame_00000", *recording.truth.frame_names[1:]))
    with pytest.raises(DataInvalid, match="truth and observations name other frames"):
        select_frames({"a": recording.truth_track}, recording.observations, truth)

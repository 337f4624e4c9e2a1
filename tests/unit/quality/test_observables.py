"""What the observables say of a person filmed without noise, and of one deliberate fault at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.bodies.joints import BODY25_NAMES
from pipelines.errors import DataInvalid
from pipelines.quality.agreement import agreement_observables
from pipelines.quality.contact import contact_observables
from pipelines.quality.depth import depth_observables
from pipelines.quality.image import image_observables
from pipelines.quality.motion import motion_observables, prior_observables
from pipelines.quality.observables import NEAR, observe
from pipelines.quality.settings import ObservableSettings

SETTINGS = ObservableSettings()
LEGS = [BODY25_NAMES.index(f"{s}_{p}") for s in ("left", "right") for p in ("knee", "ankle", "heel")]


def test_a_perfect_fit_gives_no_cause_for_doubt(staged) -> None:
    values = observe(staged.evidence(), SETTINGS).values
    for name in ("points_to_body_mm", "surface_to_points_worst_limb_mm", "reprojection_worst_mm"):
        assert values[name].max() < 0.5, name
    for name in (
        "surface_uncovered_share",
        "surface_hidden_share",
        "points_unexplained_share",
        "keypoints_sides_mm",
        "keypoints_missing_share",
        "jump_worst_mm",
        "row_distance_mm.humor",
        "betas_spread",
        "contact_slide_mm",
    ):
        assert np.abs(values[name]).max() < 1e-3, name
    assert values["keypoints_doubt"] == pytest.approx(0.1)
    assert values["penetration_mm"].max() < 1.0
    assert values["floating_mm"].max() < 5.0


def test_every_observable_has_a_group_and_one_value_per_frame(staged) -> None:
    observed = observe(staged.evidence(), SETTINGS)
    assert set(observed.group) == set(observed.values)
    assert {column.shape for column in observed.values.values()} == {(14,)}
    # Only acceleration has no value at the ends.
    lacking = {name for name, column in observed.values.items() if not np.isfinite(column).all()}
    assert lacking == {"acceleration_m_s2", "acceleration_worst_m_s2"}


def test_a_body_behind_its_points_is_told_by_offset_and_residual(staged) -> None:
    transl = staged.fits["refined"].parameters.transl + np.array([0, 0, 0.04])
    values = depth_observables(staged.with_result(transl=transl).evidence(), SETTINGS)
    assert np.all((values["points_offset_mm"] > 20) & (values["points_offset_mm"] < 41))
    assert values["points_to_body_mm"].min() > 15


def test_a_frame_without_depth_has_no_residual_and_nothing_covered(staged) -> None:
    num_points = staged.observations.num_points.copy()
    num_points[3] = 0
    values = depth_observables(staged.with_observations(num_points=num_points).evidence(), SETTINGS)
    assert values["points_missing_share"].tolist() == [float(frame == 3) for frame in range(14)]
    assert np.isnan(values["points_to_body_mm"][3])
    assert values["surface_uncovered_share"][3] == 1


def test_a_wall_before_the_legs_hides_them_and_nothing_is_expected_there(staged) -> None:
    wall = np.array([[-2.0, 2, 0], [2, 2, 0], [2, 2, 0.7], [-2, 2, 0.7]])
    scene = replace(
        staged.scene,
        vertices_world=np.concatenate([staged.scene.vertices_world, wall]),
        faces=np.concatenate([staged.scene.faces, [[4, 5, 6], [4, 6, 7]]]),
    )
    values = depth_observables(replace(staged, scene=scene).evidence(), SETTINGS)
    assert values["limb_hidden_share"].min() > 0.6
    assert np.all((values["surface_hidden_share"] > 0.2) & (values["surface_hidden_share"] < 0.6))
    assert values["surface_uncovered_share"].max() < 1e-3


def test_a_limb_away_from_its_points_shows_in_the_worst_limb(staged) -> None:
    pose = staged.fits["refined"].parameters.body_pose.copy()
    pose[5, 3 * 15 : 3 * 15 + 3] = [0, 0, 0.6]  # left shoulder
    values = depth_observables(staged.with_result(body_pose=pose).evidence(), SETTINGS)
    worst = values["surface_to_points_worst_limb_mm"]
    assert worst[5] > 40
    assert np.delete(worst, 5).max() < 1


def test_keypoints_of_the_other_side_are_noticed_in_their_frame_and_near_it(staged) -> None:
    keypoints = staged.observations.keypoints_px.copy()
    left, right = LEGS[:3], LEGS[3:]
    keypoints[6, left], keypoints[6, right] = keypoints[6, right], keypoints[6, left].copy()
    values = observe(staged.with_observations(keypoints_px=keypoints).evidence(), SETTINGS).values
    assert np.flatnonzero(values["keypoints_sides_mm"] > 20).tolist() == [6]
    assert np.flatnonzero(values["keypoints_jump_mm"] > 50).tolist() == [6]
    near = np.flatnonzero(values[NEAR + "keypoints_sides_mm"] > 20)
    assert near.tolist() == list(range(3, 10))


def test_reprojection_is_in_millimetres_at_the_body(staged) -> None:
    transl = staged.fits["refined"].parameters.transl + np.array([0.03, 0, 0])
    values = image_observables(staged.with_result(transl=transl).evidence(), SETTINGS)
    assert values["reprojection_mm"] == pytest.approx(np.full(14, 30.0), abs=0.1)
    assert values["reprojection_mm.humor"].max() < 0.1


def test_a_frame_without_keypoints_has_doubt_but_no_reprojection(staged) -> None:
    confidence = staged.observations.keypoints_confidence.copy()
    confidence[2] = 0
    values = image_observables(
        staged.with_observations(keypoints_confidence=confidence).evidence(), SETTINGS
    )
    assert np.isnan(values["reprojection_mm"][2])
    assert np.isnan(values["keypoints_jump_mm"][2])
    assert values["keypoints_missing_share"][2] == 1
    assert values["keypoints_doubt"][2] == 1
    assert values["keypoints_jump_mm"][3] < 1  # the gap is bridged, not jumped over


def test_a_jump_of_one_frame_is_its_distance_from_the_median(staged) -> None:
    transl = staged.fits["refined"].parameters.transl.copy()
    transl[7, 0] += 0.05
    values = motion_observables(staged.with_result(transl=transl).evidence(), SETTINGS)
    assert values["jump_mm"] == pytest.approx([50.0 * (frame == 7) for frame in range(14)], abs=1e-3)
    # second difference of (0, 0.05, 0): 2 x 0.05 x 30^2
    assert values["acceleration_m_s2"][7] == pytest.approx(90, rel=1e-4)


def test_clips_do_not_see_each_other(staged) -> None:
    transl = staged.fits["refined"].parameters.transl.copy()
    transl[7:, 0] += 0.5
    cut = staged.with_observations(segment_id=(np.arange(14) >= 7).astype(np.int64))
    values = motion_observables(cut.with_result(transl=transl).evidence(), SETTINGS)
    assert np.nanmax(values["acceleration_m_s2"]) < 0.1
    assert values["jump_mm"].max() < 1e-3
    assert values["end_nearness"][[6, 7]].tolist() == [1, 1]


def test_invalid_frames_have_no_values_and_disturb_no_others(staged) -> None:
    transl = staged.fits["refined"].parameters.transl.copy()
    transl[4] = 0
    broken = staged.with_result(transl=transl)
    status = tuple("fit_failed" if frame == 4 else "" for frame in range(14))
    refined = replace(broken.fits["refined"], status=status)
    observed = observe(replace(broken, fits={**broken.fits, "refined": refined}).evidence(), SETTINGS)
    assert observed.valid.tolist() == [frame != 4 for frame in range(14)]
    assert all(np.isnan(column[4]) for column in observed.values.values())
    assert np.nanmax(observed.values["jump_worst_mm"]) < 1e-3
    assert np.nanmax(observed.values[NEAR + "jump_worst_mm"]) < 1e-3


def test_rows_that_disagree_are_as_far_apart_as_they_are(staged) -> None:
    humor = staged.fits["humor"]
    parameters = replace(humor.parameters, transl=humor.parameters.transl + np.array([0, 0.04, 0]))
    fits = {**staged.fits, "humor": replace(humor, parameters=parameters)}
    values = agreement_observables(replace(staged, fits=fits).evidence(), SETTINGS)
    assert values["row_distance_mm.humor"] == pytest.approx(np.full(14, 40.0), abs=0.01)
    assert values["row_distance_worst_mm.humor"] == pytest.approx(np.full(14, 40.0), abs=0.01)
    assert values["row_distance_mm.vposer_t"].max() == 0


def test_a_sunken_body_penetrates_and_a_lifted_one_floats(staged) -> None:
    transl = staged.fits["refined"].parameters.transl.copy()
    transl[1, 1] += 0.05
    transl[2, 1] -= 0.05
    values = contact_observables(
        staged.with_result(transl=transl).evidence(), ObservableSettings(vertex_step=1)
    )
    assert values["penetration_mm"][1] == pytest.approx(50, abs=0.1)
    assert values["floating_mm"][2] == pytest.approx(50, abs=0.1)
    assert values["penetration_share"][2] == 0


def test_claimed_contacts_that_slide_are_told_by_their_step(staged) -> None:
    transl = staged.fits["refined"].parameters.transl.copy()
    transl[:, 0] += 0.01 * np.arange(14)
    moved = staged.with_result(transl=transl)
    claimed = replace(moved.fits["refined"], contacts=np.ones((14, 22)))
    values = contact_observables(
        replace(moved, fits={**moved.fits, "refined": claimed}).evidence(), SETTINGS
    )
    assert values["contact_slide_mm"] == pytest.approx(np.full(14, 10.0), abs=1e-2)
    assert contact_observables(moved.evidence(), SETTINGS)["contact_slide_mm"].max() == 0


def test_the_priors_find_an_impossible_pose_odd(staged) -> None:
    pose = staged.fits["refined"].parameters.body_pose.copy()
    pose[8] = np.random.default_rng(0).normal(0, 1.2, 63)
    values = prior_observables(staged.with_result(body_pose=pose).evidence())
    far = np.r_[0:6, 12:14]  # velocities carry the pose into the frames beside it
    assert values["pose_prior_rad"].argmax() == 8
    assert values["pose_prior_rad"][8] > 2 * values["pose_prior_rad"][far].max()
    assert values["motion_prior_nats"].argmax() in (6, 7, 8)
    assert values["motion_prior_nats"].max() > 5 * values["motion_prior_nats"][far].max()


def test_fits_of_other_frames_are_refused(staged) -> None:
    humor = replace(staged.fits["humor"], frame_names=("elsewhere",) * 14)
    with pytest.raises(
        DataInvalid, match=r"different frames(.|\n)*row humor(.|\n)*fit the recording again"
    ):
        replace(staged, fits={**staged.fits, "humor": humor}).evidence()
    with pytest.raises(DataInvalid, match="no fit to score"):
        replace(staged, fits={}).evidence()

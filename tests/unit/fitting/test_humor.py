"""The fit of a whole recording: a staged person with known truth, and interrupted runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bodies.track import pose_track
from pipelines.errors import DataInvalid, SettingsInvalid
from pipelines.fitting.humor import fit_humor
from pipelines.fitting.result import write_fit
from pipelines.fitting.settings import HumorSettings, WindowSettings
from pipelines.records import FittedSequence, SequenceObservations

STAGES = tuple(stage.name for stage in HumorSettings().stages)
FRAME_STAGES = tuple(stage.name for stage in HumorSettings().frame_stages)
MOTION_STAGES = tuple(stage.name for stage in HumorSettings().motion_stages)
TABLE_ROWS = ("vposer_t", "humor", "prox_humor")


def _quick(steps: int, **changes: Any) -> HumorSettings:
    """Our schedule with so many steps in every stage."""
    settings = HumorSettings(**changes)
    stages = [
        stage.model_copy(update={"solver": stage.solver.model_copy(update={"steps": steps})})
        for stage in settings.stages
    ]
    return settings.model_copy(update={"stages": tuple(stages)})


def _fit(person: Any, settings: HumorSettings, **arguments: Any) -> dict[str, FittedSequence]:
    torch.set_num_threads(1)
    observations: SequenceObservations = arguments.pop("observations", person.observations)
    scene = arguments.pop("scene", person.scene)
    return fit_humor(observations, scene, person.files, person.priors, settings, **arguments)


def _v2v_mm(person: Any, fitted: FittedSequence) -> float:
    found = pose_track(fitted, person.files).vertices_camera
    return 1000 * float(np.linalg.norm(found - person.vertices.numpy(), axis=-1).mean())


@pytest.fixture(scope="module")
def fits(person: Any) -> dict[str, FittedSequence]:
    return _fit(person, HumorSettings())


@pytest.mark.parametrize(("row", "most_mm"), [("vposer_t", 15), ("humor", 50), ("prox_humor", 50)])
def test_each_row_finds_the_person(
    row: str, most_mm: float, person: Any, fits: dict[str, FittedSequence]
) -> None:
    fitted = fits[row]
    assert fitted.method == row
    assert fitted.gender == "female"
    assert fitted.valid.all()
    assert fitted.window_id.tolist() == [0] * 6
    assert _v2v_mm(person, fitted) < most_mm


def test_the_result_is_no_worse_than_the_roll_out(person: Any, fits: dict[str, FittedSequence]) -> None:
    result = list(fits)[-1]
    assert _v2v_mm(person, fits[result]) < 1.1 * _v2v_mm(person, fits["prox_humor"])


def test_rows_share_stages_and_tell_their_own_energies(fits: dict[str, FittedSequence]) -> None:
    stages = {row: {name.split(".")[0] for name in fit.energies} for row, fit in fits.items()}
    assert stages["vposer_t"] == set(FRAME_STAGES)
    assert stages["humor"] == stages["prox_humor"] == {*FRAME_STAGES, *MOTION_STAGES}
    for name in fits["vposer_t"].energies:
        assert fits["vposer_t"].energies[name] == fits["prox_humor"].energies[name]
    assert "3c.prox_penetration" in fits["prox_humor"].energies
    assert not any("prox_" in name for name in fits["humor"].energies)


def test_only_rolled_out_rows_have_contacts_and_a_floor_of_their_own(
    person: Any, fits: dict[str, FittedSequence]
) -> None:
    assert fits["vposer_t"].contacts is None
    np.testing.assert_array_equal(fits["vposer_t"].floor_camera, person.observations.floor_camera)
    for row in ("humor", "prox_humor"):
        contacts = fits[row].contacts
        assert contacts is not None
        assert ((contacts >= 0) & (contacts <= 1)).all()
        assert np.linalg.norm(fits[row].floor_camera[:3]) == pytest.approx(1)
        assert fits[row].floor_camera[3] == pytest.approx(-person.floor_y, abs=0.1)


def test_vposer_t_needs_no_scene_and_no_motion_prior(
    person: Any, fits: dict[str, FittedSequence]
) -> None:
    broken = replace(person.priors, motion=person.priors.to(torch.float32).motion)
    for parameter in broken.motion.parameters():
        parameter.data.fill_(torch.nan)
    found = fit_humor(
        person.observations, None, person.files, broken, HumorSettings(), rows=("vposer_t",)
    )
    assert list(found) == ["vposer_t"]
    expected = fits["vposer_t"].parameters
    for name in ("transl", "global_orient", "body_pose", "betas"):
        np.testing.assert_array_equal(
            getattr(found["vposer_t"].parameters, name), getattr(expected, name)
        )


def test_scene_row_without_a_scene_is_refused_before_any_step(person: Any) -> None:
    with pytest.raises(SettingsInvalid, match="prox_penetration has weight"):
        _fit(person, HumorSettings(), scene=None, rows=("prox_humor",))


def test_nobody_seen_at_all_is_refused(person: Any) -> None:
    seen = person.observations
    empty = replace(
        seen,
        keypoints_confidence=np.zeros_like(seen.keypoints_confidence),
        num_points=np.zeros_like(seen.num_points),
    )
    with pytest.raises(DataInvalid, match="seen in no frame"):
        _fit(person, HumorSettings(), observations=empty)


def test_every_frame_keeps_its_own_reason(person: Any) -> None:
    seen = person.observations
    confidence, counts = seen.keypoints_confidence.copy(), seen.num_points.copy()
    confidence[4], counts[4] = 0, 0
    status = ("", "", "", "", "no_person", "")
    hidden = replace(seen, keypoints_confidence=confidence, num_points=counts, status=status)
    fitted = _fit(person, _quick(2), observations=hidden, rows=("humor",))["humor"]
    assert fitted.status == status
    assert fitted.valid.tolist() == [True, True, True, True, False, True]
    assert np.isfinite(fitted.parameters.body_pose).all()


def test_trimmed_frames_are_told(person: Any) -> None:
    settings = _quick(1, windows=WindowSettings(trim_frames=1))
    fitted = _fit(person, settings, rows=("vposer_t",))["vposer_t"]
    assert fitted.status == ("trimmed", "", "", "", "", "trimmed")


def test_overlapping_windows_cover_every_frame(person: Any) -> None:
    settings = _quick(2, windows=WindowSettings(length=4, overlap=2, run_length=8))
    fitted = _fit(person, settings, rows=("humor",))["humor"]
    assert fitted.valid.all()
    assert sorted(set(fitted.window_id.tolist())) == [0, 1]
    assert fitted.energies["3c.points3d"].shape == (2,)


def _saved(folder: Path, fits: dict[str, FittedSequence]) -> dict[str, bytes]:
    return {row: write_fit(folder / f"{row}.npz", fit).read_bytes() for row, fit in fits.items()}


@pytest.fixture(scope="module")
def short(stage_person: Callable[..., Any]) -> Any:
    return stage_person(4, num_points=200)


@pytest.fixture(scope="module")
def whole_run(short: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Checkpoints and results of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    fits = _fit(short, _quick(2), checkpoint_dir=folder / "checkpoints")
    return folder / "checkpoints", _saved(folder, fits)


def test_each_stage_of_each_row_leaves_a_checkpoint(whole_run: tuple[Path, dict[str, bytes]]) -> None:
    names = [path.name.split("-")[0] for path in whole_run[0].iterdir()]
    assert set(names) == {f"stage_{stage}" for stage in STAGES}
    assert all(names.count(f"stage_{stage}") == 1 for stage in FRAME_STAGES)
    assert names.count("stage_3c") == 2  # without and with scene terms


@pytest.mark.parametrize("kept", range(len(STAGES) + 1))
def test_resumed_after_any_stage_the_bytes_are_the_same(
    kept: int, short: Any, whole_run: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    checkpoints, expected = whole_run
    resumed = tmp_path / "checkpoints"
    resumed.mkdir()
    for path in checkpoints.iterdir():
        if path.name.split("-")[0] in {f"stage_{stage}" for stage in STAGES[:kept]}:
            shutil.copy(path, resumed)
    result = list(expected)[-1]
    fits = _fit(short, _quick(2), checkpoint_dir=resumed, rows=(result,))
    assert _saved(tmp_path, fits) == {result: expected[result]}
    for path in resumed.iterdir():
        assert path.read_bytes() == (checkpoints / path.name).read_bytes()


def test_without_checkpoints_the_bytes_are_the_same(
    short: Any, whole_run: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    assert _saved(tmp_path, _fit(short, _quick(2))) == whole_run[1]


def test_a_broken_checkpoint_is_made_again(
    short: Any, whole_run: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resumed = tmp_path / "checkpoints"
    shutil.copytree(whole_run[0], resumed)
    (path,) = resumed.glob("stage_2-*")
    intact = path.read_bytes()
    path.write_bytes(intact[: len(intact) // 2])
    assert _saved(tmp_path, _fit(short, _quick(2), checkpoint_dir=resumed)) == whole_run[1]
    assert path.read_bytes() == intact


def test_other_observations_or_settings_take_up_no_checkpoint(
    short: Any, whole_run: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    resumed = tmp_path / "checkpoints"
    shutil.copytree(whole_run[0], resumed)
    before = {path.name for path in resumed.iterdir()}
    moved = replace(short.observations, keypoints_px=short.observations.keypoints_px + 1.0)
    _fit(short, _quick(2), observations=moved, checkpoint_dir=resumed, rows=("vposer_t",))
    _fit(short, _quick(1), checkpoint_dir=resumed, rows=("vposer_t",))
    added = {path.name for path in resumed.iterdir()} - before
    assert len(added) == 2 * len(FRAME_STAGES)


@pytest.mark.parametrize("row", TABLE_ROWS)
def test_a_row_asked_for_alone_is_the_same(
    row: str, short: Any, whole_run: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    found = _fit(short, _quick(2), checkpoint_dir=whole_run[0], rows=(row,))
    assert _saved(tmp_path, found) == {row: whole_run[1][row]}

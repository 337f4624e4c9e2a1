"""Shards of a run and of the generator: made, resumed, interrupted, described; nothing lost unsaid."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.artifacts import StageKey, hash_file, write_marker, write_text
from pipelines.bodies.files import resolve_body_files
from pipelines.config import load_settings, settings_yaml
from pipelines.errors import DataInvalid, DataMissing, PipelineError
from pipelines.pseudo_gt.data import data_source, prepare_recording
from pipelines.pseudo_gt.result import build_result, write_result
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.quality.files import write_quality
from pipelines.quality.score import QualityScores
from pipelines.records import FittedSequence
from pipelines.shards.collection import ShardCollection
from pipelines.shards.describe import describe_shards
from pipelines.shards.fit_source import RESULT
from pipelines.shards.produce import Production, plan_production, write_planned_shard
from pipelines.shards.reader import ShardReader
from pipelines.shards.settings import ShardsSettings, TruthSettings
from pipelines.shards.smplh_from_smplx import smplh_from_smplx
from pipelines.shards.validate import validate_shard
from pipelines.synthetic.truth import read_truth

RECORDING = "TinyRoom_00034_01"
FILES = resolve_body_files(None)


def produce(settings: ShardsSettings) -> Production:
    """What the flow does, without Prefect."""
    production = plan_production(settings)
    for shard in production.shards:
        write_planned_shard(settings, shard)
    describe_shards(production, production.shards)
    return production


def made_up_fit(data_root: Path, statuses: Sequence[str]) -> FittedSequence:
    """The truth in the place of a fit: fitting takes minutes and is tested elsewhere."""
    truth = read_truth(data_root, RECORDING)
    return FittedSequence(
        method="humor",
        recording=RECORDING,
        gender=truth.gender,
        frame_names=truth.frame_names,
        parameters=smplh_from_smplx(FILES, truth.gender, truth.parameters).parameters,
        status=tuple(statuses),  # type: ignore[arg-type]
        window_id=np.zeros(len(truth.frame_names), np.int64),
        T_world_from_camera=truth.T_world_from_camera,
        floor_camera=truth.floor_camera,
    )


def store(run: Path, fitted: FittedSequence) -> None:
    """As the export stage leaves it."""
    path = run / "recordings" / RECORDING / RESULT
    write_result(path, build_result(fitted, FILES, {}, with_smplx=False))
    write_marker(path.parent, StageKey("export", "", {}, ""), [path])


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny preset; two of its twelve frames have no fit."""
    out = tmp_path_factory.mktemp("runs")
    settings = load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={out}"])
    data = data_source(settings)
    prepare_recording(settings, data, RECORDING)
    assert data.truth_root is not None
    store(out / "tiny", made_up_fit(data.truth_root, [*[""] * 9, "no_person", "", "fit_failed"]))
    write_text(out / "tiny" / "settings.yaml", settings_yaml(settings))
    return out / "tiny"


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(finished_run, tmp_path / "tiny"))


def fit_settings(run: Path, out: Path, *overrides: str) -> ShardsSettings:
    return load_settings(
        ShardsSettings, None, [f"run={run}", f"out_dir={out}", "scored=false", *overrides]
    )


@pytest.fixture(scope="module")
def made(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardsSettings:
    """Shards of the run, four samples a file."""
    settings = fit_settings(finished_run, tmp_path_factory.mktemp("made"), "samples_per_shard=4")
    produce(settings)
    return settings


def content(folder: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}


def test_every_frame_of_the_run_is_accounted_for(made: ShardsSettings) -> None:
    stats = json.loads((made.folder / "stats.json").read_text())
    assert stats["frames"] == {
        "frames": 12,
        "kept": 10,
        "rejected": {},
        "skipped": {"fit_failed": 1, "no_person": 1},
    }
    assert sorted(path.name for path in made.folder.glob("*.h5")) == [
        f"train-0000{number}.h5" for number in range(3)
    ]
    assert stats["usable_by"]["scene"] == {"TinyRoom": 10}


def test_one_recording_trains_and_the_card_says_so(made: ShardsSettings) -> None:
    splits = json.loads((made.folder / "splits.json").read_text())
    assert splits["recordings"] == {RECORDING: "train"}
    card = (made.folder / "README.md").read_text()
    assert "everything trains" in card
    assert "licence-free stand-in" in card
    assert "skipped: fit_failed 1" in card


def test_the_index_points_at_the_samples(made: ShardsSettings) -> None:
    with (made.folder / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    for row in rows:
        with ShardReader(made.folder / row["shard"]) as reader:
            assert reader.sample(int(row["row"])).sample_id == row["sample_id"]


def test_shards_are_whole_and_readable_as_one_collection(made: ShardsSettings) -> None:
    paths = sorted(made.folder.glob("*.h5"))
    assert [validate_shard(path) for path in paths] == [()] * 3
    samples = ShardCollection(paths)
    assert len(samples) == 10
    assert samples.kinds == ("fit",) * 3
    scene = samples.scene_of(0)
    assert scene.sdf_name == "TinyRoom_sdf.npy"
    assert len(samples[0].contact_rows)  # sits on a sofa
    touching = scene.points_world[samples[0].contact_rows]
    T = samples[0].T_world_from_camera
    pelvis_world = T[:3, :3] @ samples[0].transl + T[:3, 3]
    assert np.linalg.norm(touching - pelvis_world, axis=1).max() < 2.5


def test_the_crop_is_of_the_true_image_not_of_the_mirrored_file(
    made: ShardsSettings, finished_run: Path
) -> None:
    """A crop's middle pixel against the stored file, which is mirrored."""
    sample = ShardCollection(sorted(made.folder.glob("*.h5")))[5]
    stored = finished_run / "data/prox/qualitative/recordings" / RECORDING / "Color"
    mirrored = cv2.imread(str(stored / f"{sample.frame}.jpg"))
    crop = cv2.imdecode(sample.crop_jpeg, cv2.IMREAD_COLOR)
    margin = (len(crop) - 224) // 2
    left, up, right, bottom = sample.box_px
    differences = []
    for row in range(20, 200, 9):
        for column in range(20, 200, 9):
            u = left + column / 223 * (right - left)
            v = up + row / 223 * (bottom - up)
            if 1 < u < 1918 and 1 < v < 1078:
                own = crop[margin + row, margin + column].astype(float)
                differences.append(np.abs(own - mirrored[round(v), 1919 - round(u)]).mean())
    assert np.median(differences) < 6


def test_nothing_names_a_path_of_this_machine(made: ShardsSettings, finished_run: Path) -> None:
    for path in made.folder.iterdir():
        for name in (str(made.out_dir), str(finished_run.parent), str(Path.cwd())):
            assert name.encode() not in path.read_bytes(), path


def test_a_second_run_changes_nothing(made: ShardsSettings) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    produce(made)
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir()} == before


def test_made_elsewhere_the_shards_have_the_same_bytes(
    made: ShardsSettings, run: Path, tmp_path: Path
) -> None:
    again = fit_settings(run, tmp_path / "again", "samples_per_shard=4")
    produce(again)
    first, second = content(made.folder), content(again.folder)
    for name in first:
        if not name.endswith(".done.json"):  # those name modification times of the copied tree
            assert first[name] == second[name], name


def test_shards_of_an_earlier_plan_do_not_stay_beside_the_new_ones(
    made: ShardsSettings, run: Path, tmp_path: Path
) -> None:
    produce(fit_settings(run, tmp_path / "out", "samples_per_shard=4"))
    later = fit_settings(run, tmp_path / "out", "samples_per_shard=8")
    (later.folder / "foreign.h5").write_bytes(b"not ours")
    produce(later)
    names = sorted(path.name for path in later.folder.glob("*.h5"))
    assert names == ["foreign.h5", "train-00000.h5", "train-00001.h5"]


def test_no_run_and_an_unfinished_run_are_told_clearly(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"no finished pseudo-gt run[\s\S]*make pseudo-gt"):
        plan_production(fit_settings(tmp_path / "nowhere", tmp_path))
    (run / "recordings" / RECORDING / "export.done.json").unlink()
    for overrides in ((), ("skip_unfitted=true",)):
        with pytest.raises(DataMissing, match=r"1 of 1 recordings[\s\S]*TinyRoom[\s\S]*make pseudo-gt"):
            plan_production(fit_settings(run, tmp_path, *overrides))


def test_an_altered_fit_is_refused(run: Path, tmp_path: Path) -> None:
    with (run / "recordings" / RECORDING / RESULT).open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"\xff\xff")
    with pytest.raises(DataInvalid, match="altered after its run"):
        plan_production(fit_settings(run, tmp_path))


def refit(run: Path, statuses: Sequence[str] = ("",) * 12, **changes: object) -> None:
    fitted = made_up_fit(run / "data" / "truth", statuses)
    store(run, replace(fitted, **changes))  # type: ignore[arg-type]


def test_scores_become_weights_and_reasons(run: Path, tmp_path: Path) -> None:
    fitted = made_up_fit(run / "data" / "truth", ("",) * 12)
    store(run, fitted)
    reasons = ("", "penetration") + ("",) * 10
    error = np.linspace(10, 21, 12)
    scores = QualityScores(RECORDING, fitted.frame_names, error, np.full(12, 0.5), reasons, {})
    path = run / "recordings" / RECORDING / "quality.npz"
    write_quality(path, replace(scores, observables={"none": np.zeros(12)}))
    settings = fit_settings(run, tmp_path / "out", "scored=true")
    produce(settings)
    samples = list(ShardReader(settings.folder / "train-00000.h5"))
    assert [sample.reject_reason for sample in samples] == list(reasons)
    assert [float(sample.weight) for sample in samples] == [0.5, 0.0] + [0.5] * 10
    np.testing.assert_allclose([sample.expected_error_mm for sample in samples], error)
    stats = json.loads((settings.folder / "stats.json").read_text())
    assert stats["frames"]["rejected"] == {"penetration": 1}
    write_quality(
        path, replace(scores, frame_names=fitted.frame_names[::-1], observables={"none": error})
    )
    with pytest.raises(DataInvalid, match="scores are of other frames than the fit"):
        produce(settings)
    path.unlink()
    with pytest.raises(DataMissing, match="no scores of a recording"):
        produce(settings)


def test_a_recording_without_a_valid_frame_is_counted_and_nothing_is_written(
    run: Path, tmp_path: Path
) -> None:
    refit(run, ("no_person",) * 12)
    settings = fit_settings(run, tmp_path / "out")
    with pytest.raises(DataMissing, match=r"no recording has a frame to use[\s\S]*'no_person': 12"):
        plan_production(settings)
    assert not settings.folder.exists()


def test_frames_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    names = made_up_fit(run / "data" / "truth", ("",) * 12).frame_names
    refit(run, frame_names=(names[0], names[0], *names[2:]))
    settings = fit_settings(run, tmp_path / "out")
    with pytest.raises(DataInvalid, match=r"given twice[\s\S]*TinyRoom_00034_01"):
        produce(settings)
    assert list(settings.folder.glob("*")) == []


def test_frames_that_are_not_finite_are_skipped(run: Path, tmp_path: Path) -> None:
    fitted = made_up_fit(run / "data" / "truth", ("",) * 12)
    fitted.parameters.transl[4] = np.nan
    store(run, fitted)
    settings = fit_settings(run, tmp_path / "out")
    produce(settings)
    stats = json.loads((settings.folder / "stats.json").read_text())
    assert stats["frames"]["skipped"] == {"fit_not_finite": 1}


def test_a_scene_without_grid_and_lost_or_broken_images(run: Path, tmp_path: Path) -> None:
    base = run / "data/prox/qualitative"
    (base / "sdf" / "TinyRoom_sdf.npy").unlink()
    images = sorted((base / "recordings" / RECORDING / "Color").iterdir())
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:2000])
    settings = fit_settings(run, tmp_path / "out")
    produce(settings)
    stats = json.loads((settings.folder / "stats.json").read_text())
    assert stats["frames"]["kept"] == 8
    assert stats["frames"]["skipped"]["image_missing"] == 1
    assert stats["frames"]["skipped"]["image_invalid"] == 1
    with ShardReader(settings.folder / "train-00000.h5") as reader:
        assert reader.scene("TinyRoom").sdf_name == ""


def test_a_body_outside_the_grid_is_skipped(run: Path, tmp_path: Path) -> None:
    description = run / "data/prox/qualitative/sdf/TinyRoom.json"
    grid = json.loads(description.read_text())
    moved = {**grid, "min": [v + 50 for v in grid["min"]], "max": [v + 50 for v in grid["max"]]}
    description.write_text(json.dumps(moved))
    with pytest.raises(DataInvalid, match="without samples is not written"):
        produce(fit_settings(run, tmp_path / "out"))


def _write_with_little_room(settings: ShardsSettings, room: int, queue: multiprocessing.Queue) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        produce(settings)
    except PipelineError as error:
        queue.put(str(error))


def test_a_full_disk_is_told_and_finished_shards_stay(made: ShardsSettings, tmp_path: Path) -> None:
    """No file may grow beyond what the second shard needs; HDF5 meets the limit in the middle."""
    settings = made.model_copy(update={"out_dir": tmp_path})
    first = plan_production(settings).shards[0]
    write_planned_shard(settings, first)
    before = content(settings.folder)
    bytes_of_others = min(p.stat().st_size for p in sorted(made.folder.glob("*.h5"))[1:])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(
        target=_write_with_little_room, args=(settings, bytes_of_others // 2, queue)
    )
    process.start()
    message = queue.get(timeout=300)
    process.join()
    assert re.search(r"no room left on the disk\n.*train-00001[\s\S]*what was finished is kept", message)
    assert content(settings.folder) == before
    produce(settings)
    assert {n: h for n, h in content(settings.folder).items() if n.endswith(".h5")} == {
        n: h for n, h in content(made.folder).items() if n.endswith(".h5")
    }


@pytest.fixture(scope="module")
def true_bodies(tmp_path_factory: pytest.TempPathFactory) -> ShardsSettings:
    """Three made-up recordings of thirty frames, two of each taken."""
    settings = ShardsSettings(
        source="truth",
        out_dir=tmp_path_factory.mktemp("truth"),
        frame_stride=15,
        truth=TruthSettings(scenes=3, subjects=3, num_frames=30, families=("walk",), clutter=1),
    )
    produce(settings)
    return settings


@pytest.mark.slow
def test_true_bodies_without_fitting(true_bodies: ShardsSettings, made: ShardsSettings) -> None:
    folder = true_bodies.folder
    assert folder.name == "shards-truth"
    samples = ShardCollection(sorted(folder.glob("*.h5")))
    assert set(samples.kinds) == {"truth"}
    assert len(samples) == 6
    assert len({sample.subject for sample in samples}) == 3
    assert {sample.gender for sample in samples} == {"male", "female"}
    for sample in samples:
        assert 0 < sample.expected_error_mm < 8
        assert json.loads(sample.provenance)["kind"] == "truth"
        assert len(sample.contact_rows)
    splits = json.loads((folder / "splits.json").read_text())
    assert set(splits["recordings"].values()) == {"train", "val", "test"}
    with pytest.raises(DataInvalid, match="fitted and of true bodies are mixed"):
        ShardCollection([*folder.glob("*.h5"), *made.folder.glob("*.h5")])


@pytest.mark.slow
def test_true_bodies_are_the_same_each_time(true_bodies: ShardsSettings, tmp_path: Path) -> None:
    again = true_bodies.model_copy(update={"out_dir": tmp_path})
    produce(again)
    assert content(again.folder) == content(true_bodies.folder)


@pytest.mark.slow
def test_killed_at_twenty_moments_a_rerun_ends_in_the_same_files(
    made: ShardsSettings, tmp_path: Path
) -> None:
    settings = made.model_copy(update={"out_dir": tmp_path})
    produce(settings)
    expected = content(settings.folder)
    assert {n: h for n, h in expected.items() if n.endswith(".h5")} == {
        n: h for n, h in content(made.folder).items() if n.endswith(".h5")
    }
    shutil.rmtree(settings.folder)
    started = time.monotonic()
    produce(settings)  # how long it takes with everything in memory, as the forked children have it
    whole_s = time.monotonic() - started
    moments, killed, attempts = random.Random(0), 0, 0
    shutil.rmtree(settings.folder)
    while killed < 20:
        attempts += 1
        assert attempts < 100
        process = multiprocessing.get_context("fork").Process(target=produce, args=(settings,))
        process.start()
        process.join(timeout=moments.uniform(0, whole_s))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        for path in settings.folder.glob("*.h5"):  # what has its name is whole
            assert hash_file(path) == expected[path.name]
        if process.exitcode == 0:  # all was there before the moment came
            shutil.rmtree(settings.folder)
    # In a process of its own, as a user's second run is: what killed writers left is swept once per process.
    rerun = multiprocessing.get_context("fork").Process(target=produce, args=(settings,))
    rerun.start()
    rerun.join()
    assert content(settings.folder) == expected


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Forked children of a process with running torch threads may hang."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

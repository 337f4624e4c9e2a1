"""The survey names each tree and what is in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.cli import run
from pipelines.bodies.files import BodyFiles
from pipelines.other_datasets.sahmr_support.prox import ProxSupport
from pipelines.other_datasets.sahmr_support.rich import RichSupport
from pipelines.other_datasets.survey import survey, survey_of_stranger


def test_people_of_each_tree_are_counted(
    files: BodyFiles, quantitative: Any, rich_root: Path, egobody_root: Path
) -> None:
    text = survey(quantitative.root, files).to_text()
    assert text.startswith("a tree of PROX quantitative\n  1 recordings\n")
    assert "male, 9 frames, bodies 1 fit_missing, 1 fit_not_finite, 9 images of color" in text
    rich = survey(rich_root, files, full=True)
    assert rich.lines[0] == "2 sequences: 1 train, 1 test"
    assert "female, 3 frames, bodies all usable, 3 images of cam_00" in rich.lines[-2]
    egobody = survey(egobody_root, files, full=True)
    assert egobody.lines[0] == "2 recordings: 1 with 3 views, 1 with 5 views"
    assert len(egobody.lines) == 1 + 2 * (3 + 5)
    assert rich.problems == egobody.problems == ()


def test_support_folders_and_amass_are_counted(
    files: BodyFiles, rich_support: RichSupport, prox_support: ProxSupport, amass_root: Path
) -> None:
    rich = survey(rich_support.root.parent, files)
    assert rich.kind == "SA-HMR support for RICH"
    assert "test: 2 samples, 0 of them without an image file" in rich.lines
    assert survey(prox_support.root, files).lines[0] == "7 samples, 0 of them without image or mesh"
    amass = survey(amass_root, files).to_text()
    assert "train: 7 motions; absent subsets: MPI_Limits, TotalCapture" in amass


def test_problems_are_lines(files: BodyFiles, rich_root: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("images", "multicam2world")
    broken = Path(shutil.copytree(rich_root, tmp_path / "rich", ignore=ignored))
    found = survey(broken, files)
    assert found.kind == "RICH"
    assert any("Pavallion_multicam2world.json" in problem for problem in found.problems)
    assert survey(tmp_path / "nowhere", files).to_text().endswith("no such folder")
    assert survey(tmp_path, files).to_text() == "no data set that is known here\n  rich"


def test_the_doctor_recognises_every_tree_given_as_prox(
    rich_root: Path,
    egobody_root: Path,
    amass_root: Path,
    rich_support: RichSupport,
    prox_support: ProxSupport,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And says what each is good for."""
    for root, kind, use in (
        (rich_root, "RICH", "source=rich"),
        (egobody_root, "EgoBody", 'make shards SET="source=egobody'),
        (amass_root, "AMASS", "make train-priors"),
        (rich_support.root.parent, "SA-HMR support for RICH", 'make evaluate SET="samples=support'),
        (prox_support.root, "SA-HMR support for PROX", 'make evaluate SET="samples=support'),
    ):
        assert run(["doctor", f"prox.root={root}"]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"prox.root is no tree of PROX qualitative\na tree of {kind}\n")
        assert use in told


def test_the_doctor_knows_both_halves_of_prox(
    quantitative: Any, tmp_path: Path, files: BodyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    root = quantitative.root
    assert survey_of_stranger(root, "quantitative", files) is None
    assert survey_of_stranger(root / "quantitative", "quantitative", files) is None
    assert survey_of_stranger(tmp_path, "qualitative", files) is None  # the PROX doctor's business
    assert run(["doctor", f"prox.root={root}"]) == 0
    told = capsys.readouterr().out
    assert "a tree of PROX quantitative" in told
    assert "prox.split=quantitative" in told
    assert run(["doctor", f"prox.root={root}", "prox.split=quantitative"]) == 0
    assert "vicon_03301_01" in capsys.readouterr().out


def test_the_verb_prints_it_and_fails_on_strangers(
    amass_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["survey", str(amass_root)]) == 0
    assert capsys.readouterr().out.startswith("a tree of AMASS\n  train: 7 motions")
    assert run(["survey", str(tmp_path)]) == 1
    assert "an empty folder" in capsys.readouterr().out

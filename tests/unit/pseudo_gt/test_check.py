"""The doctor reports every fault of a run's inputs; it raises for none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.config import load_settings
from pipelines.datasets.doctor import DoctorReport
from pipelines.motion_prior.pose_prior import PosePrior
from pipelines.pseudo_gt.check import check_inputs
from pipelines.pseudo_gt.settings import PseudoGtSettings


def _check(tmp_path: Path, *overrides: str) -> DoctorReport:
    """On a tree that is not there: only what is said about the rest matters."""
    root = f"prox.root={tmp_path / 'no_tree'}"
    return check_inputs(load_settings(PseudoGtSettings, None, [root, *overrides]))


def _errors(report: DoctorReport) -> dict[str, str]:
    return {f.subject: f.text for f in report.findings if f.severity == "error"}


@pytest.mark.parametrize(
    ("name", "licensed"), [("motion", "HuMoR"), ("pose", "VPoser"), ("initial_state", "HuMoR")]
)
def test_a_missing_prior_is_a_line_with_its_source(name: str, licensed: str, tmp_path: Path) -> None:
    path = tmp_path / "absent.pth"
    report = _check(tmp_path, f"priors.{name}={path}")
    assert not report.ok
    assert str(path) in _errors(report)[f"priors.{name}"]
    assert licensed in report.where_to_get


def test_broken_priors_are_lines_each(tmp_path: Path) -> None:
    truncated, code, mixture = (tmp_path / name for name in ("humor.pth", "vposer.pt", "gmm.npz"))
    truncated.write_bytes(b"PK\x03\x04 cut off")
    torch.save({"bodyprior_dec_fc1.weight": print}, code)  # a pickle that names a function
    np.savez(mixture, weights=np.ones(2), means=np.zeros((2, 3)), covariances=np.zeros((2, 3, 3)))
    report = _check(
        tmp_path,
        f"priors.motion={truncated}",
        f"priors.pose={code}",
        f"priors.initial_state={mixture}",
    )
    errors = _errors(report)
    assert "cannot be read as tensors alone" in errors["priors.motion"]
    assert "cannot be read as tensors alone" in errors["priors.pose"]
    assert "wrong shapes" in errors["priors.initial_state"]
    assert not {"HuMoR", "VPoser"} & set(report.where_to_get)  # they are there, only broken


def test_a_file_of_another_prior_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "vposer.pt"
    torch.save(PosePrior().state_dict(), path)
    errors = _errors(_check(tmp_path, f"priors.motion={path}"))
    assert "not those of this prior" in errors["priors.motion"]


def test_shipped_priors_are_a_note_and_good_ones_no_error(tmp_path: Path) -> None:
    path = tmp_path / "vposer.pt"
    torch.save(PosePrior().state_dict(), path)
    report = _check(tmp_path, f"priors.pose={path}")
    assert not any(subject.startswith("priors") for subject in _errors(report))
    (note,) = [finding for finding in report.findings if finding.subject == "priors"]
    assert note.severity == "note"
    assert note.text.endswith("motion, initial_state")


def test_a_missing_body_folder_is_a_line_beside_the_others(tmp_path: Path) -> None:
    report = _check(tmp_path, f"body_models={tmp_path / 'none'}", f"priors.motion={tmp_path / 'x.pth'}")
    assert {"tree", "bodies", "priors.motion"} <= set(_errors(report))
    assert {"SMPL-X", "SMPL+H", "HuMoR", "recordings"} <= set(report.where_to_get)


def test_a_pattern_that_matches_no_embedded_recording_is_a_line(tmp_path: Path) -> None:
    overrides = ["preset=tiny", f"out_dir={tmp_path}", "prox.recordings=[Nowhere*]"]
    report = check_inputs(load_settings(PseudoGtSettings, None, overrides))
    assert "no recording to work on" in _errors(report)["recordings"]


def test_errors_come_first_in_the_text(tmp_path: Path) -> None:
    lines = _check(tmp_path, f"priors.motion={tmp_path / 'x.pth'}").to_text()
    assert lines.index("ERROR: priors.motion") < lines.index("note: priors")
    assert "Where to get what is missing:" in lines

"""A finished run is found wherever its folder was moved, under its own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.artifacts import write_text
from pipelines.config import settings_yaml
from pipelines.errors import DataInvalid, DataMissing
from pipelines.pseudo_gt.settings import PseudoGtSettings, read_run


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    settings = PseudoGtSettings(preset="tiny", out_dir=tmp_path / "first")
    write_text(settings.run_dir / "settings.yaml", settings_yaml(settings))
    return settings.run_dir


def test_a_moved_run_is_read_from_where_it_is(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "second" / finished.name
    moved.parent.mkdir()
    finished.rename(moved)
    run = read_run(moved)
    assert run.run_dir == moved
    assert run.preset == "tiny"


def test_a_renamed_run_is_refused_with_its_name(finished: Path) -> None:
    renamed = finished.rename(finished.with_name("best"))
    with pytest.raises(
        DataInvalid, match=r"another name[\s\S]*expected: tiny[\s\S]*call the folder tiny"
    ):
        read_run(renamed)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"no finished pseudo-gt run[\s\S]*make pseudo-gt"):
        read_run(tmp_path)

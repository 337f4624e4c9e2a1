"""The baseline is a fit run to convergence: twice the iterations change its row of the table by little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.convergence import doubled, fit_some, measure, tightened
from pipelines.config import load_settings
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence

pytestmark = pytest.mark.slow
ROW = ("pen_pooled_v1", "reproj_pooled_v1", "reproj_truth_v1", "v2v_v1", "accel_error_v1")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> RecordingJob:
    """A short embedded recording."""
    folder = tmp_path_factory.mktemp("runs")
    settings = load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={folder}"])
    data = data_source(settings)
    (recording,) = list_recordings(settings, data)
    prepare_recording(settings, data, recording)
    return RecordingJob(settings, data, recording)


@pytest.fixture(scope="module")
def once(job: RecordingJob) -> FittedSequence:
    """The baseline at its settings."""
    return fit_some(job, 1, ProxStyleSettings())


@pytest.mark.parametrize("change", [doubled, tightened])
def test_twice_the_iterations_change_the_row_by_less_than_two_per_cent(
    job: RecordingJob,
    once: FittedSequence,
    change: Callable[[ProxStyleSettings], ProxStyleSettings],
) -> None:
    """Every frame ends by itself, and not early: a tenth of the tolerance gives the same fit."""
    assert np.nansum(once.energies["at_limit"]) == 0
    fits = [once, fit_some(job, 1, change(ProxStyleSettings()))]
    totals = [fit.energies["total"].sum() for fit in fits]
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    tables = [measure([job], [fit]) for fit in fits]
    for name in ROW:
        before, after = (table.cell("prox_style", name) for table in tables)
        assert before is not None
        assert after is not None
        assert after.value == pytest.approx(before.value, rel=0.02), name

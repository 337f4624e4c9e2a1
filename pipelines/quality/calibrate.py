"""The verb `calibrate-quality`: make recordings, fit them, make the error model, test it on others."""

from __future__ import annotations

import logging
from itertools import zip_longest
from pathlib import Path

from pydantic import Field, model_validator

from pipelines.artifacts import code_version, hash_file
from pipelines.config import Settings
from pipelines.pseudo_gt.data import data_source, list_recordings
from pipelines.pseudo_gt.fit import HUMOR_CODE, RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.quality.calibration import CalibrationSettings, calibrate
from pipelines.quality.corpus import prepare_job, recordings_of
from pipelines.quality.error_model import ErrorModel, write_error_model
from pipelines.quality.evaluation import EvaluationSettings, evaluate_scores
from pipelines.quality.known import KnownFrames, measure_known, read_known
from pipelines.quality.observables import GROUPS
from pipelines.quality.recordings import SetName, synthetic_set
from pipelines.quality.report import Ablation, report_text, three_figures, write_report
from pipelines.quality.settings import SHIPPED_MODEL, ObservableSettings

_log = logging.getLogger(__name__)


class CalibrateQualitySettings(Settings):
    """Everything `make calibrate-quality` does."""

    out_dir: Path = Path("outputs/quality")
    """Recordings, fits and the report go below it; finished ones are not made again."""
    model: Path = Field(default=SHIPPED_MODEL)
    """Where the error model goes; the default replaces the shipped one."""
    finished_run: PseudoGtSettings | None = None
    """A finished run on synthetic data (`make pseudo-gt`): its recordings are calibrated on, too."""
    observables: ObservableSettings = ObservableSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _truth_is_known(self) -> CalibrateQualitySettings:
        if self.finished_run is not None and self.finished_run.prox.root is not None:
            raise ValueError("finished_run is of recordings without truth; name a run of a preset")
        return self


def calibrate_quality(settings: CalibrateQualitySettings) -> str:
    """Make what is missing, write the model and the report; returns the report."""
    known = _known_files(settings)
    return calibrate_and_test(
        read_known(known["calibration"]), read_known(known["test"]), settings, _provenance(known)
    )


def calibrate_and_test(
    calibration: KnownFrames,
    test: KnownFrames,
    settings: CalibrateQualitySettings,
    provenance: dict[str, str],
) -> str:
    """Write the model and the report from measured recordings; returns the report."""
    model = calibrate(calibration, settings.observables, settings.calibration, provenance)
    write_error_model(settings.model, model)
    expected_mm = model.expected_error_mm(test.values)
    report = evaluate_scores(test, expected_mm, settings.evaluation)
    ablation = _ablate(calibration, test, model, settings)
    text = report_text(report, test, expected_mm, model, ablation, settings.evaluation)
    write_report(settings.out_dir, text, report, test, expected_mm, settings.evaluation)
    return text


def _known_files(settings: CalibrateQualitySettings) -> dict[SetName, list[Path]]:
    """Both sets side by side, so that an interrupted run has some of each."""
    files: dict[SetName, list[Path]] = {"calibration": [], "test": []}
    pairs = zip_longest(recordings_of("calibration"), recordings_of("test"))
    todo = [pair for both in pairs for pair in zip(files, both, strict=True) if pair[1] is not None]
    for done, (name, recording) in enumerate(todo):
        assert recording is not None
        job = prepare_job(settings.out_dir, name, recording)
        files[name].append(measure_known(job, settings.observables))
        _log.info("%d of %d recordings done", done + 1, len(todo))
    if settings.finished_run is not None:
        files["calibration"] += _finished(settings.finished_run, settings.observables)
    return files


def _finished(run: PseudoGtSettings, observables: ObservableSettings) -> list[Path]:
    """Measure the recordings of a run."""
    data = data_source(run)
    names = list_recordings(run, data)
    return [measure_known(RecordingJob(run, data, name), observables) for name in names]


def _ablate(
    calibration: KnownFrames, test: KnownFrames, model: ErrorModel, settings: CalibrateQualitySettings
) -> Ablation:
    """The figures without each group of observables, and with that group alone."""
    fixed = settings.calibration.model_copy(update={"ridge": (float(model.provenance["ridge"]),)})

    def figures(groups: list[str]) -> tuple[float, float, float]:
        part = calibrate(calibration.with_groups(groups), settings.observables, fixed, {})
        expected_mm = part.expected_error_mm(test.values)
        return three_figures(expected_mm, test.error_mm, settings.evaluation)

    rows = {"all": figures(list(GROUPS))}
    rows |= {f"without {group}": figures([g for g in GROUPS if g != group]) for group in GROUPS}
    return rows | {f"{group} alone": figures([group]) for group in GROUPS}


def _provenance(known: dict[SetName, list[Path]]) -> dict[str, str]:
    """What the model was made from; no path and no time."""
    return {
        "made_by": "python -m flows calibrate-quality",
        "calibration_settings": synthetic_set("calibration").content_hash(),
        "test_settings": synthetic_set("test").content_hash(),
        "fit_code": code_version(*HUMOR_CODE),
        **{f"known {path.parent.name}": hash_file(path) for path in known["calibration"]},
    }

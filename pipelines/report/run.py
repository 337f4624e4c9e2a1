"""A finished pseudo-gt run, opened for reading: its settings, recordings, fits and metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from pipelines.artifacts import hash_file, read_marker
from pipelines.errors import DataInvalid, DataMissing
from pipelines.metrics.evaluate import TRUTH, RecordingMetrics
from pipelines.metrics.summary import METHOD_TITLES, MetricsTable, result_of, summarise
from pipelines.pseudo_gt.data import DataSource, data_source, list_recordings
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import RUN_FIRST, PseudoGtSettings, read_run


@dataclass(frozen=True)
class FinishedRun:
    """One run folder. Recordings that were not measured are named, not hidden."""

    settings: PseudoGtSettings
    """As the run itself stored them, but with the folder as it was given."""
    recordings: tuple[str, ...]
    """Measured recordings that are asked for."""
    unmeasured: tuple[str, ...]
    """Recordings of the data without metrics."""

    @staticmethod
    def open(folder: Path, patterns: tuple[str, ...] = ()) -> FinishedRun:
        """Find a run.

        Raises:
            DataMissing: no run, no measured recording, or none of that name.
            DataInvalid: the folder was renamed.
        """
        settings = read_run(folder)
        names = sorted(list_recordings(settings, data_source(settings)))
        chosen = [n for n in names if not patterns or any(fnmatchcase(n, p) for p in patterns)]
        measured = [n for n in chosen if (folder / "recordings" / n / "metrics.json").is_file()]
        if not measured:
            raise DataMissing(
                "no measured recording in this run",
                where=folder / "recordings",
                expected=patterns or "recordings with a metrics.json",
                found=f"{len(names)} recordings, {len(chosen)} of that name",
                fix=RUN_FIRST,
            )
        return FinishedRun(settings, tuple(measured), tuple(n for n in chosen if n not in measured))

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.settings.run_dir

    @cached_property
    def data(self) -> DataSource:
        """The tree the run was made from."""
        return data_source(self.settings)

    def job(self, recording: str) -> RecordingJob:
        """Observations, scene, fits of one recording."""
        return RecordingJob(self.settings, self.data, recording)

    @cached_property
    def metrics(self) -> dict[str, RecordingMetrics]:
        """The stored sums, by recording.

        Raises:
            DataInvalid: a metrics file cannot be read.
        """
        return {name: _read_metrics(self.job(name).folder) for name in self.recordings}

    @cached_property
    def table(self) -> MetricsTable:
        """Recordings pooled anew, so that table and pages are of the same files."""
        preset = self.settings.preset if self.data.truth_root is not None else None
        return summarise(list(self.metrics.values()), preset=preset, settings=self.settings.metrics)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Rows of the table, without the truth, in the table's order."""
        return tuple(method for method in self.table.methods if method != TRUTH)

    @property
    def result(self) -> str:
        """The method whose bodies are the pseudo ground truth; the last one where none is."""
        return result_of(self.methods) or self.methods[-1]

    @property
    def has_truth(self) -> bool:
        """True on synthetic data."""
        return TRUTH in self.table.methods

    @cached_property
    def stale(self) -> tuple[str, ...]:
        """Recordings whose metrics were not made from the fits that now lie beside them."""
        return tuple(name for name in self.recordings if not self._metrics_fit(name))

    def _metrics_fit(self, recording: str) -> bool:
        job = self.job(recording)
        marker = read_marker(job.folder, "metrics")
        if marker is None:
            return False
        rows = {row: hash_file(job.fit_path(row)) for row in self.methods if job.fit_path(row).is_file()}
        return all(marker.key.inputs.get(row) == found for row, found in rows.items())


def title_of(method: str) -> str:
    """A method's name for people."""
    return METHOD_TITLES.get(method, method)


def _read_metrics(folder: Path) -> RecordingMetrics:
    path = folder / "metrics.json"
    try:
        return RecordingMetrics.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataInvalid(
            "metrics of a recording cannot be read",
            where=path,
            found=repr(error),
            fix="delete the file and run `make pseudo-gt` again; finished fits are kept",
        ) from None

"""What `evaluate` will do: rows to measure on how many images."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from pipelines.bodies.files import resolve_body_files
from pipelines.config import Settings
from pipelines.progress.plan import Plan, make_plan, planned
from sahmr.evaluation.definitions import DATASET_GT
from sahmr.evaluation.evaluate import open_stored, require_inputs
from sahmr.evaluation.load_rows import names_of_rows
from sahmr.evaluation.settings import EvaluationSettings

MEASURE = "measure"


class EvaluationRates(Settings):
    """Of preset `tiny` on one thread."""

    cpu_s_per_image: float = Field(0.13, gt=0)
    """Of one row: 114 CPU s for three rows on 285 images of 19 rooms, reading and pictures included."""
    mb_per_image: float = Field(0.003, ge=0)
    """820 KB for 87 images and three rows, pictures included."""
    memory_gb: float = Field(1.2, gt=0)
    """Largest resident size seen."""


def plan_evaluation(settings: EvaluationSettings, rates: EvaluationRates | None = None) -> Plan:
    """Every row is measured each time: networks are quick, and a stale table is worse than a slow one.

    Raises:
        DataMissing: no samples, or no weights.
    """
    require_inputs(settings)
    rates = rates or EvaluationRates()
    images = len(open_stored(settings, resolve_body_files(settings.body_models)))
    images = images if settings.limit is None else min(settings.limit, images)
    return _plan(settings, names_of_rows(settings), images, "measured each time", rates)


def reckon_evaluation(
    settings: EvaluationSettings, images: int, rates: EvaluationRates | None = None
) -> Plan:
    """The same for networks that are not there yet: METRO and SA-HMR on at most so many images."""
    images = images if settings.limit is None else min(settings.limit, images)
    names = ["metro", "mesh", *settings.rows]
    return _plan(settings, names, images, "after train", rates or EvaluationRates())


def _plan(
    settings: EvaluationSettings, rows: Sequence[str], images: int, why: str, rates: EvaluationRates
) -> Plan:
    each = rates.cpu_s_per_image, rates.mb_per_image
    stages = [planned(row, MEASURE, why, images, *each) for row in (DATASET_GT, *rows)]
    return make_plan(
        stages, 1, settings.folder, rates.memory_gb, "measured on preset tiny", counted="images"
    )

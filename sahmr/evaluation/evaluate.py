"""Trained networks and a folder of shards -> table, errors of every sample, pictures.

Writes into `out_dir/name`: `evaluation.json` (read by the compare verb), `evaluation.md`, `evaluation.png`,
`errors.npz` (`sahmr.evaluation.sample_errors`), `pictures/`, `settings.yaml`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import torch
import yaml
from jaxtyping import Float

from pipelines.artifacts import write_text
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.config import settings_yaml
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.metrics.anatomy import load_anatomy
from pipelines.shards.collection import ShardCollection, SplitSide
from pipelines.shards.splits import SPLITS_FILE, Split, read_split
from sahmr.data.collate import collate
from sahmr.data.contact_table import category_of_fine_vertices
from sahmr.data.dataset import TrainingSamples
from sahmr.data.supervision import SupervisionSettings, load_supervision, pose_bodies
from sahmr.evaluation.chart import save_chart
from sahmr.evaluation.definitions import DATASET_GT
from sahmr.evaluation.load_rows import (
    LoadedRow,
    leaks,
    load_rows,
    require_weights,
    unequal_training,
)
from sahmr.evaluation.measure import Yardstick, measure_rows
from sahmr.evaluation.pictures import save_pictures
from sahmr.evaluation.report import markdown
from sahmr.evaluation.rows import FittedRow, Row, TrueRow
from sahmr.evaluation.sample_errors import RowErrors, SampleIds, write_sample_errors
from sahmr.evaluation.scene_distance import SceneGrids, generated_grids, grids_of_run, prox_grids
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.support_samples import SupportSamples, open_support, support_grids
from sahmr.evaluation.table import Evaluation, RowDescription, evaluation_table

logger = logging.getLogger(__name__)

RESULT: Final = "evaluation.json"
REPORT: Final = "evaluation.md"
CHART: Final = "evaluation.png"
SAMPLE_ERRORS: Final = "errors.npz"
PICTURES: Final = "pictures"
_NUM_PARTS: Final = 8
_REFERENCES: Final = {
    "truth": "true bodies",
    "fit": "fitted bodies",
    "dataset": "the data set's own bodies",
}


def evaluate(settings: EvaluationSettings) -> Evaluation:
    """Measure every row and write everything.

    Raises:
        DataMissing: no shards, weights or body files where they should be.
        DataInvalid: one of them is not what it should be, the split has no sample, or no prediction is
            finite.
    """
    device = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu")
        if settings.device == "auto"
        else settings.device
    )
    files = _files(settings)
    samples, grids, left_out = open_samples(settings, files)
    loaded = load_rows(settings, files, device)
    rows = {DATASET_GT: _dataset_gt(settings, files), **{name: row.row for name, row in loaded.items()}}
    yardstick = _yardstick(settings, files, samples, grids)
    places = _spread(len(samples), settings.limit)
    ids, errors = measure_rows(samples, places, rows, yardstick, settings.batch_size, device)
    evaluation = _pool(settings, samples, loaded, ids, errors, grids, files, left_out)
    out = settings.folder
    write_sample_errors(out / SAMPLE_ERRORS, ids, errors)
    write_text(out / REPORT, markdown(evaluation))
    save_chart(out / CHART, evaluation)
    write_text(out / "settings.yaml", settings_yaml(settings))
    if settings.pictures:
        faces = load_anatomy(files).faces
        save_pictures(out / PICTURES, samples, places, rows, yardstick.pose, errors, faces, settings)
    evaluation.write(out / RESULT)
    return evaluation


def require_inputs(settings: EvaluationSettings) -> None:
    """Fail at once where samples or weights are missing, before anything slow begins.

    Raises:
        DataMissing: they are not there.
        DataInvalid: the split has no such side, or a shard is of another schema.
    """
    open_stored(settings, _files(settings))
    require_weights(settings)


def open_samples(
    settings: EvaluationSettings, files: BodyFiles
) -> tuple[TrainingSamples, SceneGrids | None, tuple[str, ...]]:
    """What is measured on, its distance grids, and a warning where there are none.

    Raises:
        DataMissing: neither shards nor the support folder are where they should be.
        DataInvalid: a sample or grid is not what it should be.
    """
    stored = open_stored(settings, files)
    if not isinstance(stored, SupportSamples):
        return TrainingSamples(stored), *scene_grids(settings, shards_folder(settings), stored.kinds[0])
    grids = None if settings.grids == "none" else support_grids(stored.support)
    return TrainingSamples(stored), grids, ()


def open_stored(settings: EvaluationSettings, files: BodyFiles) -> ShardCollection | SupportSamples:
    """The samples as they lie on disk.

    Raises:
        DataMissing: neither shards nor the support folder are where they should be.
        DataInvalid: the split has no such side, or a shard is of another schema.
    """
    if settings.samples == "shards":
        return open_side(shards_folder(settings), settings)
    support = open_support(_support_folder(settings), files)
    table = category_of_fine_vertices(files, _NUM_PARTS, settings.contact.left_out)
    return SupportSamples(support, table, settings.contact.radius_m)


def _support_folder(settings: EvaluationSettings) -> Path:
    if settings.support is None:
        raise SettingsInvalid(
            "SA-HMR's support folder is not given", fix="set support=<the folder sahmr_support>"
        )
    return settings.support


def shards_folder(settings: EvaluationSettings) -> Path:
    """The folder to measure on: as given, or that of the training.

    Raises:
        DataMissing: neither is known.
    """
    if settings.shards is not None:
        return settings.shards
    for path in sorted(settings.train.glob("*/settings.yaml")) if settings.train is not None else ():
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict) and isinstance(stored.get("data"), dict):
            return Path(stored["data"]["shards"])
    raise DataMissing(
        "there are no shards to measure on",
        where=settings.train,
        fix="train first (`make train`), or give shards=<folder>",
    )


def open_side(folder: Path, settings: EvaluationSettings) -> ShardCollection:
    """One side of a folder's split.

    Raises:
        DataMissing: no shard in the folder, or no split.
        DataInvalid: the split cannot be read, or that side has no sample.
    """
    paths = sorted(folder.glob("*.h5"))
    if not paths:
        raise DataMissing("no shards in the folder", where=folder, fix="make them: `make shards`")
    if settings.split == "all":
        return ShardCollection(paths, settings.selection)
    split = read_split(folder / SPLITS_FILE)
    wanted = best_side(split) if settings.split == "auto" else settings.split
    if settings.split == "auto" and wanted != "test":
        logger.warning("%s has no test side: measured on %s", folder, wanted)
    if wanted not in split.values():
        raise DataInvalid(
            f"the split has no recording on the side {wanted}",
            where=folder / SPLITS_FILE,
            found=", ".join(sorted(set(split.values()))) or "no recording",
            fix="choose split=val, train or all, or make shards of more recordings",
        )
    return ShardCollection(paths, settings.selection, SplitSide(wanted, split))


def best_side(split: Mapping[str, Split]) -> Split:
    """The test side; where no recording tests, what is there."""
    order: tuple[Split, ...] = ("test", "val", "train")
    return next((side for side in order if side in split.values()), "test")


def scene_grids(
    settings: EvaluationSettings, shards: Path, kind: str
) -> tuple[SceneGrids | None, tuple[str, ...]]:
    """Where distance grids come from, and a warning where PenE and ConFE must be left out.

    Raises:
        DataMissing: grids are asked for by name, and what they need is not there.
        DataInvalid: they do not belong to these shards.
    """
    source = settings.grids
    if source == "none":
        return None, ()
    if source == "auto":
        source = "generated" if kind == "truth" else "prox"
        source = "support" if settings.support is not None else source
    try:
        if source == "generated":
            return generated_grids(shards), ()
        if source == "support":
            return support_grids(open_support(_support_folder(settings), _files(settings))), ()
        root = settings.prox_root
        if kind == "dataset":
            return prox_grids(_own_grids(root), "quantitative"), ()
        return prox_grids(root) if root is not None else grids_of_run(shards, settings.runs), ()
    except DataMissing as error:
        if settings.grids != "auto":
            raise
        return None, (f"PenE and ConFE are left out: {error.what}",)


def _own_grids(root: Path | None) -> Path:
    if root is None:
        raise DataMissing(
            "a data set's shards bring no distance grids",
            fix="give support=<SA-HMR's support folder>, or prox_root=<PROX tree> for PROX quantitative",
        )
    return root


def _files(settings: EvaluationSettings) -> BodyFiles:
    return resolve_body_files(settings.body_models)


def _yardstick(
    settings: EvaluationSettings, files: BodyFiles, samples: TrainingSamples, grids: SceneGrids | None
) -> Yardstick:
    stored = samples.collection
    bodies = load_supervision(files, _NUM_PARTS, SupervisionSettings(mirrored_maps=False)).bodies
    return Yardstick(
        pose=stored.pose
        if isinstance(stored, SupportSamples)
        else lambda batch: pose_bodies(batch.body, bodies),
        h36m_regressor=load_anatomy(files).h36m_regressor,
        category_of_vertex=category_of_fine_vertices(files, _NUM_PARTS, settings.contact.left_out),
        contact_radius_m=settings.contact.radius_m,
        grid=grids.of if grids is not None else None,
    )


def _dataset_gt(settings: EvaluationSettings, files: BodyFiles) -> Row:
    """The reference itself, or the fits that stand for it in training."""
    if settings.pseudo_gt is None:
        return TrueRow()
    fits = TrainingSamples(ShardCollection(sorted(settings.pseudo_gt.glob("*.h5")), settings.selection))
    bodies = load_supervision(files, _NUM_PARTS, SupervisionSettings(mirrored_maps=False)).bodies
    fitted: dict[str, Float[np.ndarray, "6890 3"]] = {}
    for place in range(len(fits)):
        batch = collate([fits[place]])
        fitted[batch.sample_ids[0]] = pose_bodies(batch.body, bodies)[0].numpy()
    return FittedRow(fitted)


def _spread(count: int, limit: int | None) -> list[int]:
    number = count if limit is None else min(limit, count)
    return sorted({round(place) for place in np.linspace(0, count - 1, number).tolist()})


def _pool(
    settings: EvaluationSettings,
    samples: TrainingSamples,
    loaded: Mapping[str, LoadedRow],
    ids: SampleIds,
    errors: Mapping[str, RowErrors],
    grids: SceneGrids | None,
    files: BodyFiles,
    left_out: tuple[str, ...],
) -> Evaluation:
    stored = samples.collection
    kind, chosen = stored.kinds[0], set(ids.sample_id)
    provenance = {
        "protocol": "SA-HMR, one image at a time, scan's frame",
        "reference": _REFERENCES[kind],
        "reference_hash": stored.reference_hash(chosen)
        if isinstance(stored, SupportSamples)
        else _reference_hash(samples, chosen),
        "bodies": "stand-in bodies" if files.is_standin else "licensed bodies",
        "topology": "SMPL+H, 6890 vertices",
        "joint_set": "14 of Human3.6M, regressed from the mesh",
        "sdf_source": grids.source if grids is not None else "none",
        "body_contact": f"nearer than {settings.contact.radius_m} m, without "
        + (", ".join(settings.contact.left_out) or "exception"),
    }
    if isinstance(stored, SupportSamples):
        provenance["data_set"] = stored.name
    synthetic = kind == "truth" or files.is_standin
    table = evaluation_table(
        ids, errors, provenance, "synthetic" if synthetic else "real", settings.intervals
    )
    warnings = [*left_out, *leaks(loaded, set(ids.scene), set(ids.subject)), *unequal_training(loaded)]
    for warning in (*table.warnings, *warnings):
        logger.warning("%s", warning)
    fits = settings.pseudo_gt is not None
    dataset = "fits, against the true bodies" if fits else f"the reference itself: {_REFERENCES[kind]}"
    descriptions = {DATASET_GT: RowDescription("Dataset GT", dataset)}
    descriptions |= {name: row.description for name, row in loaded.items()}
    return Evaluation(replace(table, warnings=(*table.warnings, *warnings)), descriptions)


def _reference_hash(samples: TrainingSamples, chosen: set[str]) -> str:
    """Of the bodies that are measured against, whatever their order."""
    digests = []
    for sample in samples.collection:
        if sample.sample_id in chosen:
            content = sha256(sample.sample_id.encode())
            for array in (sample.betas, sample.global_orient, sample.body_pose, sample.transl):
                content.update(array.tobytes())
            digests.append(content.hexdigest())
    return sha256("\n".join(sorted(digests)).encode()).hexdigest()

"""Shards of fits with the fits' bodies replaced by the true ones: what the labels' error costs.

Images, crops, boxes and scenes stay; bodies and contact are the truth's. Only for the synthetic tree.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int

from pipelines.artifacts import hash_file
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.model import load_smplh
from pipelines.contact.labels import label_points, label_vertices
from pipelines.contact.settings import ContactSettings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import transform_points
from pipelines.records import SmplhParameters, SyntheticTruth
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import ShardSample
from pipelines.shards.smplh_from_smplx import smplh_from_smplx
from pipelines.shards.source import NUM_BETAS
from pipelines.shards.splits import SPLITS_FILE
from pipelines.shards.writer import ShardSource, write_shard
from pipelines.synthetic.truth import read_truth, truth_path
from sahmr.data.contact_table import category_of_fine_vertices

_NUM_PARTS = 8


def write_true_of_fits(
    fitted: Path, truth_root: Path, out: Path, contact: ContactSettings | None = None
) -> Path:
    """Write the shards of a folder anew with true bodies; returns the new folder.

    Rejected samples stay rejected, so that both sets train on the same images; weights become 1.

    Args:
        fitted: folder of shards made of fits.
        truth_root: truth of the run's synthetic recordings, `<run>/data/truth`.
        out: where the new shards go.
        contact: as the shards were labelled.

    Raises:
        DataMissing: no shard, or no truth of a recording (a real one has none).
        DataInvalid: the shards are not of fits, or a frame is not in the truth.
    """
    paths = sorted(fitted.glob("*.h5"))
    if not paths:
        raise DataMissing("no shards of fits", where=fitted, fix="make them: `make shards`")
    files, contact = resolve_body_files(None), contact or ContactSettings()
    for path in paths:
        with ShardReader(path) as reader:
            if reader.kind != "fit":
                raise DataInvalid("not a shard of fits", where=path, found=reader.kind)
            _write(reader, truth_root, out, files, contact)
    if (fitted / SPLITS_FILE).is_file():
        shutil.copyfile(fitted / SPLITS_FILE, out / SPLITS_FILE)
    return out


def _write(
    reader: ShardReader, truth_root: Path, out: Path, files: BodyFiles, contact: ContactSettings
) -> None:
    names = sorted({name.decode() for name in reader.column("recording").tolist()})
    scenes = sorted({name.decode() for name in reader.column("scene").tolist()})
    inputs = {"fits": hash_file(reader.path)}
    for name in names:
        path = truth_path(truth_root, name)
        if not path.is_file():
            raise DataMissing("no truth for a recording of the shards", where=path)
        inputs[f"truth {name}"] = hash_file(path)
    source = ShardSource(
        reader.path.stem, "truth", contact.content_hash(), inputs, ("sahmr/evaluation/true_of_fits",)
    )
    table = category_of_fine_vertices(files, _NUM_PARTS, contact.left_out)
    write_shard(
        out,
        source,
        lambda: (reader.scene(name) for name in scenes),
        lambda: _samples(reader, truth_root, files, table, contact.radius_m),
    )


def _samples(
    reader: ShardReader,
    truth_root: Path,
    files: BodyFiles,
    table: Int[np.ndarray, "6890"],
    radius_m: float,
) -> Iterator[ShardSample]:
    @lru_cache(1)
    def bodies(recording: str) -> tuple[SyntheticTruth, SmplhParameters]:
        truth = read_truth(truth_root, recording)
        return truth, smplh_from_smplx(files, truth.gender, truth.parameters).parameters

    for sample in reader:
        truth, parameters = bodies(sample.recording)
        if sample.frame not in truth.frame_names:
            raise DataInvalid("a frame of the shard is not in the truth", where=sample.sample_id)
        row = truth.frame_names.index(sample.frame)
        own = {field.name: getattr(parameters, field.name)[row] for field in fields(SmplhParameters)}
        yield _with_body(sample, own, reader, files, table, radius_m)


@torch.no_grad()
def _with_body(
    sample: ShardSample,
    own: Mapping[str, Float32[np.ndarray, " _"]],
    reader: ShardReader,
    files: BodyFiles,
    table: Int[np.ndarray, "6890"],
    radius_m: float,
) -> ShardSample:
    model = load_smplh(files, sample.gender, NUM_BETAS)  # type: ignore[arg-type]
    posed = model(**{name: torch.from_numpy(array)[None] for name, array in own.items()})
    vertices = posed.vertices[0].double().numpy()
    world = transform_points(sample.T_world_from_camera, vertices)
    points = reader.scene(sample.scene).points_world
    of_points = label_points(points, world[table > 0], table[table > 0], radius_m)
    rows = np.flatnonzero(of_points)
    return replace(
        sample,
        betas=own["betas"],
        global_orient=own["global_orient"],
        body_pose=own["body_pose"],
        transl=own["transl"],
        vertex_category=label_vertices(world, table, points, radius_m).astype(np.uint8),
        contact_rows=rows.astype(np.int32),
        contact_category=of_points[rows].astype(np.uint8),
        expected_error_mm=np.float32(0),
        weight=np.float32(0 if sample.reject_reason else 1),
    )

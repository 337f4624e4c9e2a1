"""Choose samples of some shards and draw them; what `make look` runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import resolve_body_files
from pipelines.config import Settings
from pipelines.errors import DataMissing
from pipelines.shards.collection import SelectionSettings, ShardCollection
from pipelines.shards.look.contact_sheet import contact_sheet, encode_png
from pipelines.shards.look.posed import pose_sample
from pipelines.shards.look.sample_page import sample_page
from pipelines.shards.validate import QUARANTINE

_log = logging.getLogger(__name__)

Order = Literal["spread", "random", "worst", "best"]


class LookSettings(Settings):
    """What `make look` shows."""

    shards: Path = Path("outputs/shards")
    """A shard, a set of them, or a folder of sets."""
    out_dir: Path = Path("outputs/look")
    """`contact-sheet.png` and `sample.html` go here."""
    order: Order = "spread"
    """Evenly spaced over all samples, drawn, or those of largest or smallest expected error."""
    columns: int = Field(6, ge=1)
    """Of the contact sheet."""
    rows: int = Field(4, ge=1)
    sample: str = ""
    """Name of the sample to show in 3D; empty = the first of the contact sheet with most contact."""
    body_models: Path | None = None
    """Folder with smplh/, as when the shards were made; empty = the licence-free stand-in."""
    seed: int = 0
    """For `order: random`."""


def look_at_shards(settings: LookSettings) -> tuple[Path, Path]:
    """Write the contact sheet and the 3D page; returns their paths.

    Raises:
        DataMissing: no shard, no sample of that name, or no body model of a sample's gender.
        DataInvalid: a shard is damaged.
    """
    mixed = SelectionSettings(allow_mixed_kinds=True, use_rejected=True)
    collection = ShardCollection(_shards_below(settings.shards), mixed)
    files = resolve_body_files(settings.body_models)
    chosen = choose_samples(collection, settings)
    posed = [pose_sample(collection, index, files) for index in chosen]
    sheet = settings.out_dir / "contact-sheet.png"
    write_bytes(sheet, encode_png(contact_sheet(posed, settings.columns)))
    if settings.sample:
        shown = pose_sample(collection, _find(collection, settings.sample), files)
    else:
        shown = max(posed, key=lambda one: len(one.sample.contact_rows))
    page = settings.out_dir / "sample.html"
    write_text(page, sample_page(shown))
    _log.info("%d of %d samples drawn; in 3D: %s", len(posed), len(collection), shown.sample.sample_id)
    return sheet, page


def choose_samples(collection: ShardCollection, settings: LookSettings) -> list[int]:
    """Numbers of the samples on the contact sheet."""
    count = min(len(collection), settings.columns * settings.rows)
    if settings.order == "spread":
        return np.unique(np.linspace(0, len(collection) - 1, count).round().astype(int)).tolist()
    if settings.order == "random":
        drawn = np.random.default_rng(settings.seed).choice(len(collection), count, replace=False)
        return sorted(drawn.tolist())
    error = np.nan_to_num(collection.column("expected_error_mm"), nan=-1)
    worst_first = np.argsort(-error, kind="stable").tolist()
    return worst_first[:count] if settings.order == "worst" else worst_first[::-1][:count]


def _shards_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(found for found in path.rglob("*.h5") if found.parent.name != QUARANTINE)
    if not found:
        raise DataMissing("no shard to look at", where=path, fix="make shards first: `make shards`")
    return found


def _find(collection: ShardCollection, name: str) -> int:
    rows = np.flatnonzero(collection.column("sample_id").astype("U") == name)
    if len(rows) == 0:
        raise DataMissing(
            f"no sample is called {name}",
            expected=f"a name like {collection[0].sample_id}",
            fix="names are the first column of index.csv beside the shards",
        )
    return int(rows[0])

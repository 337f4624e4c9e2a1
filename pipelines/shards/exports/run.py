"""What `export-shards` runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.config import Settings
from pipelines.errors import DataMissing
from pipelines.shards.collection import SelectionSettings, ShardCollection
from pipelines.shards.exports.amass import export_amass
from pipelines.shards.exports.proxd import export_proxd
from pipelines.shards.exports.sahmr_support import export_sahmr_support
from pipelines.shards.validate import QUARANTINE

_log = logging.getLogger(__name__)

ExportFormat = Literal["amass", "proxd", "sahmr_support"]
_EXPORTS: dict[ExportFormat, Callable[[ShardCollection, BodyFiles, Path], list[Path]]] = {
    "amass": export_amass,
    "proxd": export_proxd,
    "sahmr_support": export_sahmr_support,
}


class ExportShardsSettings(Settings):
    """What is exported, and as what."""

    to: ExportFormat
    """The layout: AMASS npz, PROXD pickles, or SA-HMR's support files."""
    shards: Path = Path("outputs/shards")
    """A shard, a set of them, or a folder of sets of one kind."""
    out_dir: Path = Path("outputs/export")
    """Files go to `<out_dir>/<to>/`."""
    selection: SelectionSettings = SelectionSettings()
    """Which samples; rejected ones are left out unless asked for."""
    body_models: Path | None = None
    """Folder with smplh/ and smplx/, as when the shards were made; empty = the licence-free stand-in."""


def export_shards(settings: ExportShardsSettings) -> Path:
    """Write the samples in another program's layout; returns the folder.

    Raises:
        DataMissing: no shard, or no body model.
        DataInvalid: a shard is damaged, kinds are mixed unasked, or no sample is left.
    """
    source = settings.shards
    paths = [source] if source.is_file() else sorted(source.rglob("*.h5"))
    paths = [path for path in paths if path.parent.name != QUARANTINE]
    if not paths:
        raise DataMissing("no shard to export", where=source, fix="make shards first: `make shards`")
    collection = ShardCollection(paths, settings.selection)
    out_dir = settings.out_dir / settings.to
    written = _EXPORTS[settings.to](collection, resolve_body_files(settings.body_models), out_dir)
    _log.info("%d samples -> %d files (%s)", len(collection), len(written), settings.to)
    return out_dir

"""Signed distance grids of the scenes that samples lie in.

Shards name a grid but do not hold it. Fitted bodies lie in the scenes of a PROX tree, whose grids are read;
the rooms of true bodies were made up, so they are made again from the settings that lie beside the shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float32

from pipelines.config import load_settings
from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.scenes import read_scene
from pipelines.errors import DataInvalid, DataMissing, FittingFailed
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.shards.fit_source import FitSource
from pipelines.shards.schema import ShardScene
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.truth_source import TruthRecording, TruthSource
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import sdf_grid
from pipelines.synthetic.scenery import prepare

PROX_HALF = Literal["qualitative", "quantitative"]
SHARD_SETTINGS: Final = "settings.yaml"
_GRIDS_KEPT: Final = 2
"""67 MB each at PROX's size; samples come scene by scene."""
_LARGEST_MISMATCH_M: Final = 0.05
_LOOKED_AT: Final = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class SceneGrids:
    """Where the grids of a set of shards come from."""

    source: str
    """For the table: what the distances are."""
    read: Callable[[str], SdfGrid]
    """Grid of a scene by its name, not yet checked."""

    def of(self, scene: ShardScene) -> SdfGrid:
        """The grid of a scene.

        Raises:
            DataMissing: a file is absent.
            DataInvalid: the grid is of another room than the scene's points.
        """
        grid = self.read(scene.scene)
        require_same_room(grid, scene.points_world, scene.scene)
        return grid


def prox_grids(prox_root: Path, half: PROX_HALF = "qualitative") -> SceneGrids:
    """Grids of a PROX tree, the synthetic one included.

    Raises:
        DataMissing: not a PROX tree.
    """
    layout = ProxLayout.find(prox_root, half)

    @lru_cache(_GRIDS_KEPT)
    def read(scene: str) -> SdfGrid:
        scan = read_scene(layout, scene, with_normals=False, mismatch_m=_LARGEST_MISMATCH_M)
        return SdfGrid.from_scene(scan)

    return SceneGrids("grids of the PROX tree", read)


def grids_of_run(shards: Path, runs: Path) -> SceneGrids:
    """Grids of the PROX tree of the pseudo-gt run that shards of fits were made from.

    Args:
        shards: their folder; its `settings.yaml` names the run.
        runs: where runs lie.

    Raises:
        DataMissing: the shards' settings or the run are not there.
    """
    path = shards / SHARD_SETTINGS
    if not path.is_file():
        raise DataMissing(
            "the run these shards come from is not known: their settings are missing",
            where=path,
            fix="give prox_root=<PROX tree> (synthetic: <run>/data/prox)",
        )
    settings = load_settings(ShardsSettings, path)
    run = runs / settings.run.name
    if not (run / SHARD_SETTINGS).is_file():
        raise DataMissing(
            f"the run {settings.run.name} that these shards come from is not there",
            where=run,
            fix="give runs=<folder of the run's folder>, or prox_root=<PROX tree>",
        )
    source = FitSource.open(settings.model_copy(update={"run": run}))
    return prox_grids(source.data.prox_root, source.run.prox.split)


def generated_grids(shards: Path, size: int = 256) -> SceneGrids:
    """Grids of the generator's rooms, made again from `settings.yaml` beside the shards.

    Raises:
        DataMissing: no such file.
        DataInvalid: the shards were not made by the generator.
    """
    path = shards / SHARD_SETTINGS
    if not path.is_file():
        raise DataMissing(
            "the rooms of these shards cannot be made again: their settings are missing",
            where=path,
            fix="make the shards with `make shards`, or measure without PenE (grids=none)",
        )
    settings = load_settings(ShardsSettings, path)
    if settings.source != "truth":
        raise DataInvalid(
            "the rooms of these bodies are not the generator's", where=path, fix="give prox_root"
        )
    source = TruthSource(settings)
    of_scene = {made.spec.scene: made for made in source.recordings.values()}

    @lru_cache(_GRIDS_KEPT)
    def read(scene: str) -> SdfGrid:
        if scene not in of_scene:
            raise DataMissing("no such room in the settings of the shards", where=path, found=scene)
        room = _made_again(of_scene[scene], source)
        values, first, last = sdf_grid(room, size)
        return SdfGrid(
            torch.from_numpy(values), torch.from_numpy(first).float(), torch.from_numpy(last).float()
        )

    return SceneGrids(f"exact distances of the generator's rooms on {size}³ nodes", read)


def _made_again(made: TruthRecording, source: TruthSource) -> Room:
    """The first room the generator does not refuse, as when the shards were made."""
    for _ in range(source.settings.truth.max_draws):
        try:
            return prepare(made.settings, made.spec, source.files).room
        except FittingFailed:
            made = made.drawn_again()
    raise DataInvalid(
        "the generator refuses every draw of a room that the shards have",
        where=made.spec.scene,
        fix="make the shards again with this version",
    )


def require_same_room(grid: SdfGrid, points_world: Float32[np.ndarray, "points 3"], scene: str) -> None:
    """Refuse a grid whose surface is not where the scene's points are.

    Raises:
        DataInvalid: half of the points lie more than 5 cm from the grid's surface.
    """
    if len(points_world) == 0:
        return
    points = torch.from_numpy(points_world[:: max(1, len(points_world) // _LOOKED_AT)])
    median_m = float(grid.sample(points.to(grid.values_m)).abs().median())
    if median_m > _LARGEST_MISMATCH_M:
        raise DataInvalid(
            "the distance grid is of another room than the scene's points",
            where=scene,
            expected=f"half of the points within {1000 * _LARGEST_MISMATCH_M:.0f} mm of its surface",
            found=f"a median of {1000 * median_m:.0f} mm",
            fix="give the tree, or the shards' settings, that the shards were made from",
        )

"""PROXD: one pickle of SMPL-X parameters per frame, camera frame."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.transfer import solve_smplx_from_smplh
from pipelines.datasets.proxd import frame_of, write_proxd
from pipelines.shards.collection import ShardCollection
from pipelines.shards.exports.sequences import sequences_of

_log = logging.getLogger(__name__)


def export_proxd(collection: ShardCollection, files: BodyFiles, out_dir: Path) -> list[Path]:
    """Write `PROXD/<recording>/results/<frame>/000.pkl`.

    The SMPL-X bodies are solved for; how far they lie from the SMPL+H ones is logged.
    """
    written = []
    for sequence in sequences_of(collection):
        solution = solve_smplx_from_smplh(files, sequence.gender, sequence.parameters())
        for row, sample in enumerate(sequence.samples):
            parameters = frame_of(solution.parameters, row)
            written.append(write_proxd(out_dir / "PROXD", sequence.name, sample.frame, parameters))
        error_mm = 1000 * float(np.mean(solution.v2v_m))
        _log.info("%s: SMPL-X within %.1f mm of SMPL+H on average", sequence.name, error_mm)
    return written

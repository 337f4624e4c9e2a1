"""AMASS as training clips: cut, put on the floor, labelled, picked at 30 frames a second."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.training_data import TrainingClip
from pipelines.other_datasets.amass.floor import find_floor, label_contacts
from pipelines.other_datasets.amass.motions import SUBSETS, AmassMotion, Split, left_out, read_motion
from pipelines.other_datasets.settings import AmassSettings
from pipelines.other_datasets.trees import require_tree

logger = logging.getLogger(__name__)

NUM_BETAS: Final = 10
_SUFFIX: Final = "_poses.npz"
_RATE_TOLERANCE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class AmassClips:
    """The clips of a split, and why other motions gave none."""

    clips: tuple[TrainingClip, ...]
    skipped: dict[str, int]
    """Reason -> number of motions; subsets that are absent count under `subset_missing`."""


class AmassDataset:
    """An AMASS tree (`<subset>/<subject>/<motion>_poses.npz`), SMPL+H release.

    Quirks of the source, all dealt with here:
      - rates run from 59 to 250 frames a second, and some files tell a wrong one;
      - the floor is near, not at, z = 0; motions over stairs or furniture have none;
      - treadmill and skating motions have feet that slide on purpose;
      - files beside the motions (shape.npz) are no motions;
      - genders are stored as text or as bytes.

    Differs from HuMoR: clips carry the first 10 of 16 betas, with which floor and contacts are found too;
    whether a joint stands still follows from its way to the next frame.
    """

    def __init__(self, root: Path, body_files: BodyFiles, settings: AmassSettings | None = None) -> None:
        """Find the tree; reads nothing yet.

        Raises:
            DataMissing: not an AMASS tree.
        """
        self.settings = settings or AmassSettings()
        self.root = require_tree(root, "AMASS", setting="amass.root")
        self.body_files = body_files

    def missing_subsets(self, split: Split) -> tuple[str, ...]:
        """Subsets of a split that are not here."""
        return tuple(name for name in SUBSETS[split] if not (self.root / name).is_dir())

    def motions(self, split: Split) -> tuple[str, ...]:
        """Names of all motions of a split: path below the root without `_poses.npz`, sorted."""
        found = [
            path.relative_to(self.root).as_posix().removesuffix(_SUFFIX)
            for subset in SUBSETS[split]
            for path in (self.root / subset).glob(f"*/*{_SUFFIX}")
        ]
        return tuple(sorted(found))

    def motion(self, name: str) -> AmassMotion:
        """One motion as captured."""
        return read_motion(self.root / f"{name}{_SUFFIX}", name)

    def clips(self, split: Split) -> AmassClips:
        """Every motion of a split that can be trained on.

        Raises:
            DataMissing: there is none.
        """
        clips: list[TrainingClip] = []
        skipped: Counter[str] = Counter(subset_missing=len(self.missing_subsets(split)))
        for name in self.motions(split):
            made = self.clip(name)
            if isinstance(made, str):
                skipped[made] += 1
            else:
                clips.append(made)
        counts = {reason: count for reason, count in sorted(skipped.items()) if count}
        logger.info("AMASS %s: %d clips, left out: %s", split, len(clips), counts or "none")
        if not clips:
            raise DataMissing(
                f"AMASS {split}: no motion to train on",
                where=self.root,
                expected=", ".join(SUBSETS[split]),
                found=", ".join(f"{count} {reason}" for reason, count in counts.items()),
            )
        return AmassClips(tuple(clips), counts)

    def clip(self, name: str) -> TrainingClip | str:
        """One motion as a clip, or the reason why it gives none.

        Reasons: treadmill, skating, unreadable, too_slow (fewer source frames a second than wanted),
        too_short, terrain.
        """
        reason = left_out(name)
        if reason is not None:
            return reason
        try:
            motion = self.motion(name)
        except DataInvalid as error:
            logger.warning("%s", error)
            return "unreadable"
        if motion.frame_rate_hz < self.settings.frame_rate_hz - _RATE_TOLERANCE:
            return "too_slow"
        rows = self._middle(len(motion.transl))
        if len(rows) / motion.frame_rate_hz < self.settings.min_seconds:
            return "too_short"
        joints = self._joints(motion, rows)
        floor = find_floor(joints, motion.frame_rate_hz, self.settings)
        if floor.is_terrain:
            return "terrain"
        contacts = label_contacts(joints, floor.toe_height_m, self.settings)
        picked = evenly(len(rows), motion.frame_rate_hz, self.settings.frame_rate_hz)
        transl = motion.transl[rows][picked] - [0.0, 0.0, floor.height_m]
        return TrainingClip(
            name=name,
            family=name.split("/")[0],
            gender=motion.gender,
            betas=motion.betas[:NUM_BETAS],
            rotvecs=motion.rotvecs[rows][picked],
            transl=transl,
            contacts=contacts[picked],
        )

    def _middle(self, count: int) -> Int[np.ndarray, " kept"]:
        cut = int((1 - self.settings.keep_middle) / 2 * count + 1e-9)
        return np.arange(cut, count - cut)

    @torch.no_grad()
    def _joints(
        self, motion: AmassMotion, rows: Int[np.ndarray, " kept"]
    ) -> Float[np.ndarray, "kept 22 3"]:
        body = load_smplh(self.body_files, motion.gender)
        betas = torch.tensor(motion.betas[:NUM_BETAS], dtype=body.dtype).expand(len(rows), -1)
        rotmats = rotvec_to_rotmat(torch.tensor(motion.rotvecs[rows], dtype=body.dtype))
        transl = torch.tensor(motion.transl[rows], dtype=body.dtype)
        return body.joints_from_rotmats(betas, rotmats, transl).numpy().astype(np.float64)


def evenly(count: int, source_hz: float, wanted_hz: float) -> Int[np.ndarray, " picked"]:
    """Rows at even steps, as near to the wanted rate as whole rows allow."""
    picked = int(count / source_hz * wanted_hz)
    return np.linspace(0, count - 1, max(picked, 1)).astype(np.int64)

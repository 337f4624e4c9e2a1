"""Which frames count: the same ones for every method, with every exclusion named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from jaxtyping import Bool

from pipelines.errors import DataInvalid
from pipelines.records import BodyTrack, SequenceObservations, SyntheticTruth


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """The frames all metrics of a recording ran over."""

    names: tuple[str, ...]
    """Selected frames in order."""
    num_frames: int
    """Frames of the recording."""
    num_person_seen: int
    """Frames in which the person is seen; the base of the valid shares."""
    num_valid: Mapping[str, int]
    """Per method, frames with the person seen and a valid, finite fit."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Frames left out, by the first reason that applies."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the selected names."""
        return sha256("\n".join(self.names).encode()).hexdigest()

    def valid_share(self, method: str) -> float:
        """Share of the frames with the person seen that a method fitted."""
        return self.num_valid[method] / self.num_person_seen if self.num_person_seen else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain mapping; the inverse of `from_json`."""
        return {
            "names": list(self.names),
            "hash": self.content_hash,
            "num_frames": self.num_frames,
            "num_person_seen": self.num_person_seen,
            "num_valid": dict(self.num_valid),
            "excluded": dict(self.excluded),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> FrameSelection:
        """Read what `to_json` wrote."""
        return FrameSelection(
            tuple(record["names"]),
            record["num_frames"],
            record["num_person_seen"],
            record["num_valid"],
            record["excluded"],
        )


def select_frames(
    tracks: Mapping[str, BodyTrack],
    observations: SequenceObservations,
    truth: SyntheticTruth | None = None,
) -> tuple[FrameSelection, Bool[np.ndarray, " frames"]]:
    """Frames with the person seen and a valid fit of every method; with truth, also truly present.

    Raises:
        DataInvalid: a track, or the truth, has another number of frames than the recording.
    """
    number = len(observations.frame_names)
    _check_lengths(tracks, observations, truth)
    seen = observations.person_seen
    reasons = {"person_not_seen": ~seen}
    if truth is not None:
        reasons["person_not_truly_present"] = ~truth.person_present
    usable = {name: track.valid & finite_frames(track) for name, track in tracks.items()}
    for name, track in tracks.items():
        reasons[f"{name}: invalid fit"] = ~track.valid
        reasons[f"{name}: not finite"] = ~usable[name]
    selected = np.ones(number, dtype=bool)
    excluded: dict[str, int] = {}
    for reason, flags in reasons.items():
        newly = int((selected & flags).sum())
        if newly:
            excluded[reason] = newly
        selected &= ~flags
    names = tuple(n for n, keep in zip(observations.frame_names, selected, strict=True) if keep)
    num_valid = {name: int((flags & seen).sum()) for name, flags in usable.items()}
    selection = FrameSelection(names, number, int(seen.sum()), num_valid, excluded)
    return selection, selected


def finite_frames(track: BodyTrack) -> Bool[np.ndarray, " frames"]:
    """True where every vertex and joint is finite."""
    return np.asarray(
        np.isfinite(track.vertices_camera).all(axis=(1, 2))
        & np.isfinite(track.joints_camera).all(axis=(1, 2))
        & np.isfinite(track.keypoint_joints_camera).all(axis=(1, 2)),
        dtype=bool,
    )


def _check_lengths(
    tracks: Mapping[str, BodyTrack],
    observations: SequenceObservations,
    truth: SyntheticTruth | None,
) -> None:
    number = len(observations.frame_names)
    lengths = {name: len(track.valid) for name, track in tracks.items()}
    if truth is not None:
        lengths["truth"] = len(truth.frame_names)
    wrong = {name: length for name, length in lengths.items() if length != number}
    if wrong:
        raise DataInvalid(
            f"recording {observations.recording}: fits and observations differ in length",
            expected=f"{number} frames",
            found=", ".join(f"{name} {length}" for name, length in wrong.items()),
            fix="fit the recording again with the present observations",
        )
    if truth is not None and truth.frame_names != observations.frame_names:
        raise DataInvalid(
            f"recording {observations.recording}: truth and observations name other frames",
            expected=observations.frame_names[0] if number else "no frame",
            found=truth.frame_names[0] if truth.frame_names else "no frame",
            fix="write the synthetic tree again: truth and tree must come from one run",
        )

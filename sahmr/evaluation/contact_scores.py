"""How well contact is told, one sample at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True)
class ContactScores:
    """Shares in 0..1; NaN where there is nothing to divide by."""

    precision: float
    """Of what is said to be in contact; NaN where nothing is said."""
    recall: float
    """Of what is in contact; NaN where nothing is."""
    iou: float
    """NaN where neither."""

    def by_key(self, what: str) -> dict[str, float]:
        """Under the definition ids `<what>_precision_v1` and so on."""
        return {
            f"{what}_precision_v1": self.precision,
            f"{what}_recall_v1": self.recall,
            f"{what}_iou_v1": self.iou,
        }


def contact_scores(predicted: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"]) -> ContactScores:
    """Precision, recall and intersection over union, summed over all categories but 0 (no contact).

    Differs from SA-HMR: where nothing is said or nothing is there the score is undefined and left out of
    the mean, with a count. There a small number keeps the division alive, and a sample without contact
    counts as a complete failure. Source: SA-HMR's VoxSeg.
    """
    both = int(((predicted == true) & (true > 0)).sum())
    said, there = int((predicted > 0).sum()), int((true > 0).sum())
    return ContactScores(
        _share(both, said),
        _share(both, there),
        _share(both, said + there - both),  # the union, category by category
    )


def map_errors(
    maps: Float[np.ndarray, "parts height width"], target: Float[np.ndarray, "parts height width"]
) -> dict[str, float]:
    """1 - recall and 1 - precision of contact maps above 0.5, means over the parts that are there.

    Args:
        maps: f4, parts only (no map of the background).
        target: only cells of exactly 1 count as contact, not what the stamp leaves around them.

    Source: SA-HMR's HmSeg.
    """
    errors = []
    for said, there in zip(maps > 0.5, target >= 1, strict=True):
        if there.any():
            both = int((said & there).sum())
            errors.append((1 - both / there.sum(), 1 - both / max(int(said.sum()), 1)))
    recall, precision = np.mean(errors, axis=0) if errors else (np.nan, np.nan)
    return {"map_recall_error_v1": float(recall), "map_precision_error_v1": float(precision)}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

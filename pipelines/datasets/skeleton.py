"""Kinect's own skeletons. No fit uses them; they are read for comparison and display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pipelines.datasets.layout import read_json
from pipelines.errors import DataInvalid

KINECT_JOINTS = (
    *("SpineBase", "SpineMid", "Neck", "Head", "ShoulderLeft", "ElbowLeft", "WristLeft", "HandLeft"),
    *("ShoulderRight", "ElbowRight", "WristRight", "HandRight", "HipLeft", "KneeLeft", "AnkleLeft"),
    *("FootLeft", "HipRight", "KneeRight", "AnkleRight", "FootRight", "SpineShoulder", "HandTipLeft"),
    *("ThumbLeft", "HandTipRight", "ThumbRight"),
)
"""File order."""


def read_skeletons(
    path: Path,
) -> tuple[Float[np.ndarray, "bodies 25 3"], Bool[np.ndarray, "bodies 25"]]:
    """Joints of every body (metres, true infrared camera frame) and whether each was tracked.

    A file stores x to the right of the mirrored image and y up; both are negated here. Joints a body
    lacks are NaN and not tracked. Source: datasets page, 1.8 (inferred from an overlay script).

    Raises:
        DataMissing: no such file.
        DataInvalid: not of this format.
    """
    content = read_json(path)
    bodies = content.get("Bodies") if isinstance(content, dict) else None
    if not isinstance(bodies, list):
        raise DataInvalid("skeleton file has no list `Bodies`", where=path)
    joints = np.full((len(bodies), len(KINECT_JOINTS), 3), np.nan)
    tracked = np.zeros(joints.shape[:2], dtype=bool)
    for row, body in enumerate(bodies):
        for column, name in enumerate(KINECT_JOINTS):
            joints[row, column], tracked[row, column] = _joint(body, name, path)
    return joints * (-1, -1, 1), tracked


def _joint(body: Any, name: str, path: Path) -> tuple[Float[np.ndarray, "3"], bool]:
    try:
        joint = body["Joints"].get(name)
        if joint is None:
            return np.full(3, np.nan), False
        return np.array(joint["Position"], dtype=np.float64).reshape(3), joint["State"] == "Tracked"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataInvalid(
            f"skeleton joint {name} is wrong ({type(error).__name__}: {error})",
            where=path,
            expected="Position [x, y, z] and State",
        ) from None

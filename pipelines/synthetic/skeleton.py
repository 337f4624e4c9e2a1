"""Kinect skeletons as PROX stores them; no fitting code reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from pipelines.bodies.joints import SMPLX_JOINTS

# Kinect joint -> SMPL-X output joint standing for it; tips and thumbs are vertex-picked landmarks.
_SOURCES = {
    "SpineBase": "pelvis",
    "SpineMid": "spine2",
    "Neck": "neck",
    "Head": "head",
    "ShoulderLeft": "left_shoulder",
    "ElbowLeft": "left_elbow",
    "WristLeft": "left_wrist",
    "HandLeft": "left_middle1",
    "ShoulderRight": "right_shoulder",
    "ElbowRight": "right_elbow",
    "WristRight": "right_wrist",
    "HandRight": "right_middle1",
    "HipLeft": "left_hip",
    "KneeLeft": "left_knee",
    "AnkleLeft": "left_ankle",
    "FootLeft": "left_foot",
    "HipRight": "right_hip",
    "KneeRight": "right_knee",
    "AnkleRight": "right_ankle",
    "FootRight": "right_foot",
    "SpineShoulder": "spine3",
    "HandTipLeft": "left_middle3",
    "ThumbLeft": "left_thumb3",
    "HandTipRight": "right_middle3",
    "ThumbRight": "right_thumb3",
}
_NOISE_M = 0.015


def skeleton_json(bodies_infrared: list[Float[np.ndarray, "127 3"]], rng: np.random.Generator) -> bytes:
    """One frame's file; an empty list writes empty `Bodies`.

    Args:
        bodies_infrared: joints in the OpenCV-style infrared frame of the true image.
        rng: draws the noise.
    """
    # Kinect camera space: y up, x as in the mirrored file, i.e. (-x, -y, z).
    bodies = [_body(joints * [-1, -1, 1], rng) for joints in bodies_infrared]
    return json.dumps({"Bodies": bodies}, separators=(",", ":")).encode()


def _body(joints: Float[np.ndarray, "127 3"], rng: np.random.Generator) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, source in _SOURCES.items():
        place = joints[SMPLX_JOINTS.index(source)] + rng.normal(0, _NOISE_M, 3)
        content[name] = {
            "Position": np.round(place, 5).tolist(),
            "State": "Tracked",
            "Rotation": [0.0, 0.0, 0.0, 1.0],
        }
    return {"Joints": content}

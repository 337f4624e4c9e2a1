"""The coarse body of 431 vertices: the template its tokens start from, and the parts that touch things."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int

from pipelines.bodies.downsample import PYRAMID_SIZES, MeshPyramid, read_mesh_pyramid
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import H36M14, H36M_NAMES
from pipelines.bodies.model import load_smplh
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.metrics.anatomy import load_anatomy
from pipelines.safe_pickle import loads
from sahmr.types import (
    BodyTemplate,
    ContactCategories,
    eight_categories,
    one_category,
    vertex_categories,
)

UPSIDE_DOWN: Final = (3.1416, 0.0, 0.0)
"""Rotation vector of the template: camera y points down."""
NUM_COARSE: Final = PYRAMID_SIZES[-1]


def load_template(files: BodyFiles) -> BodyTemplate:
    """Neutral body, zero shape and pose, upside down, minus its H36M pelvis.

    Differs from SA-HMR: the neutral body of SMPL+H, not of SMPL; the topology is the same, the mean shape
    nearly so.

    Raises:
        DataMissing: a body file is absent.
        DataInvalid: a body file is not what it should be.
    """
    body = load_smplh(files, "neutral")
    zeros = torch.zeros(1, 3)
    mesh = body(torch.zeros(1, body.num_betas), torch.tensor([UPSIDE_DOWN]), torch.zeros(1, 63), zeros)
    vertices = mesh.vertices[0].double().numpy()
    joints = load_anatomy(files).h36m_regressor @ vertices
    pelvis = joints[H36M_NAMES.index("pelvis")]
    coarse = read_mesh_pyramid(files.downsampling).coarsen(vertices, levels=2)
    return BodyTemplate(
        torch.tensor(joints[list(H36M14)] - pelvis, dtype=torch.float32),
        torch.tensor(coarse - pelvis, dtype=torch.float32),
    )


def load_categories(
    files: BodyFiles, num_classes: int, part_info: Path | None = None
) -> ContactCategories:
    """The categories of a model with so many classes ("none" included): 8, 2 or 432.

    Args:
        files: the body models.
        num_classes: of the model, `RcnetSettings.num_classes`.
        part_info: SA-HMR's `seg_part_info.npy`; preferred for released weights. Without it the parts are
            carried over from PROX's segments, which may differ at their borders.

    Raises:
        DataMissing: a file is absent.
        DataInvalid: no known number of classes, or a file is not what it should be.
    """
    if num_classes == NUM_COARSE + 1:
        return vertex_categories(NUM_COARSE, mirrored_vertices(load_template(files)))
    builders = {8: eight_categories, 2: one_category}
    if num_classes not in builders:
        raise DataInvalid(
            "no set of contact categories has this many classes",
            expected=f"8, 2 (contact or not) or {NUM_COARSE + 1}",
            found=num_classes,
        )
    if part_info is not None:
        labels = read_part_info(part_info)
    else:
        labels = contact_labels_smplh(files)[kept_vertices(read_mesh_pyramid(files.downsampling))]
    return builders[num_classes](torch.from_numpy(labels).long())


def kept_vertices(pyramid: MeshPyramid) -> Int[np.ndarray, "431"]:
    """Which of the 6890 vertices the coarse body keeps."""
    every = np.arange(PYRAMID_SIZES[0], dtype=np.float64)[:, None]
    return np.rint(pyramid.coarsen(every, levels=2)[:, 0]).astype(np.int64)


def mirrored_vertices(template: BodyTemplate) -> list[int]:
    """Each vertex's partner on the other side: the nearest one to its mirror image."""
    mirror = template.vertices * template.vertices.new_tensor([-1.0, 1.0, 1.0])
    distance: Float[torch.Tensor, "verts verts"] = torch.cdist(mirror, template.vertices)
    return distance.argmin(dim=1).tolist()


def read_part_info(path: Path) -> Int[np.ndarray, "431"]:
    """Contact class of each coarse vertex, from SA-HMR's `seg_part_info.npy`.

    Raises:
        DataMissing: no such file.
        DataInvalid: it is not that file.
    """
    if not path.is_file():
        raise DataMissing("part file not found", where=path, fix="take seg_part_info.npy of SA-HMR")
    stream = io.BytesIO(path.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            np.lib.format.read_array_header_1_0(stream)
        else:
            np.lib.format.read_array_header_2_0(stream)
    except ValueError as error:
        raise DataInvalid(f"part file is no npy file: {error}", where=path) from None
    content = loads(stream.read(), source=path)
    for _ in range(2):  # a 0-d object array round the dict
        content = content.item() if isinstance(content, np.ndarray) and content.ndim == 0 else content
    ids = content.get("verts431_pids") if isinstance(content, dict) else None
    labels = np.asarray(ids if ids is not None else [math.nan], dtype=np.float64)
    if labels.shape != (NUM_COARSE,) or not np.isin(labels, np.arange(8)).all():
        raise DataInvalid(
            "part file holds no class per coarse vertex",
            where=path,
            expected=f"verts431_pids of shape ({NUM_COARSE},) with values 0 to 7",
            found=type(content).__name__ if ids is None else labels.shape,
        )
    return labels.astype(np.int64)

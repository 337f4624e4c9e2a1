"""The metrics' identities, the rows' titles, and the paper's figures they are shown beside.

A definition never changes under its id: a change of formula, unit or frame takes a new version, because
results of different definitions must not be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipelines.metrics.definitions import Definition

DATASET_GT: Final = "dataset_gt"
METRO: Final = "metro"
PAPER_ROWS: Final = {
    DATASET_GT: "Dataset GT",
    METRO: "METRO†",
    "sahmr_1": "SA-HMR-1",
    "sahmr_432": "SA-HMR-432",
    "sahmr_8": "SA-HMR-8",
}
"""Rows of the paper's table, in its order; others (ablations) follow by name."""
PAPER_COLUMNS: Final = ("g_mpjpe_v1", "g_mpve_v1", "pene_v1", "confe_v1", "mpjpe_v1", "mpve_v1")
PUBLISHED: Final = {
    DATASET_GT: (None, None, 9.8, 10.8, None, None),
    METRO: (511.7, 509.7, 33.6, 37.6, 98.8, 107.9),
    "sahmr_1": (278.3, 286.7, 16.8, 23.2, 98.1, 107.9),
    "sahmr_432": (275.6, 283.4, 15.8, 22.7, 96.2, 105.5),
    "sahmr_8": (264.6, 272.7, 14.9, 19.0, 93.9, 103.0),
}
"""On RICH, in the order of `PAPER_COLUMNS`. Source: SA-HMR, Table 2."""

PROX_QUANTITATIVE: Final = "PROX quantitative, SA-HMR's samples"
NOT_IN_PAPER: Final = frozenset({PROX_QUANTITATIVE})
"""Data sets beside whose rows those of RICH would mislead."""

_MM: Final = 1000.0
_DEFINITIONS: Final = (
    # The body, in the scan's frame.
    Definition("g_mpjpe_v1", "G-MPJPE", "mm", _MM),
    Definition("g_mpve_v1", "G-MPVE", "mm", _MM),
    Definition("mpjpe_v1", "MPJPE", "mm", _MM),
    Definition("mpve_v1", "MPVE", "mm", _MM),
    Definition("pa_mpjpe_v1", "PA-MPJPE", "mm", _MM),
    Definition("pelvis_mesh_v1", "Pelvis of the mesh", "mm", _MM),
    Definition("contact_l2_v1", "C_HSCP_L2", "mm", _MM),
    # The body and the scene.
    Definition("pene_v1", "PenE", "m·vertices"),
    Definition("confe_v1", "ConFE", "m·vertices"),
    Definition("body_contact_precision_v1", "Body contact, precision", "%", 100.0, better="higher"),
    Definition("body_contact_recall_v1", "Body contact, recall", "%", 100.0, better="higher"),
    Definition("body_contact_iou_v1", "Body contact, IoU", "%", 100.0, better="higher"),
    # What RCNet says on the way.
    Definition("pelvis_initial_v1", "PelvisE (r0)", "mm", _MM),
    Definition("pelvis_refined_v1", "PelvisE refined (r*)", "mm", _MM),
    Definition("pelvis_2d_v1", "PelvisE 2D", "cells of 56"),
    Definition("scene_contact_precision_v1", "Scene contact, precision", "%", 100.0, better="higher"),
    Definition("scene_contact_recall_v1", "Scene contact, recall", "%", 100.0, better="higher"),
    Definition("scene_contact_iou_v1", "Scene contact, IoU", "%", 100.0, better="higher"),
    Definition("map_recall_error_v1", "Contact maps, 1 - recall", "%", 100.0),
    Definition("map_precision_error_v1", "Contact maps, 1 - precision", "%", 100.0),
)
DEFINITIONS: Final = {definition.id: definition for definition in _DEFINITIONS}


def ordered_rows(names: Iterable[str]) -> tuple[str, ...]:
    """The paper's rows first, in its order, then the others by name."""
    names = set(names)
    known = [name for name in PAPER_ROWS if name in names]
    return (*known, *sorted(names - set(known)))

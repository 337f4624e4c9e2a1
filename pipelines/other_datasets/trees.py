"""Which data set a folder holds, and errors that say where the wanted one lies instead."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pipelines.errors import DataMissing

TreeKind = Literal[
    "PROX quantitative",
    "PROX qualitative",
    "RICH",
    "EgoBody",
    "SA-HMR support for RICH",
    "SA-HMR support for PROX",
    "AMASS",
]

_MARKS: Final[dict[TreeKind, tuple[tuple[str, ...], ...]]] = {
    "PROX quantitative": (("recordings/", "vicon2scene.json"), ("recordings/", "fittings/mosh/")),
    "PROX qualitative": (("recordings/", "cam2world/"), ("recordings/", "PROXD/")),
    "RICH": (("scan_calibration/", "bodies/"), ("scan_calibration/", "multicam2world/")),
    "EgoBody": (("data_info_release.csv",), ("kinect_cam_params/", "calibrations/")),
    "SA-HMR support for RICH": (("scene_info/",),),
    "SA-HMR support for PROX": (("vicon/", "meta/"), ("vicon/", "img2gtbbx/")),
    "AMASS": (),
}
"""A tree is of a kind when all names of any of its tuples are there; the first kind that fits counts."""
_WRAPPERS: Final = ("qualitative", "quantitative", "sahmr_support")
"""Folders that a tree may lie in, by the data set's own layout."""


def recognise(folder: Path) -> TreeKind | None:
    """The data set whose top level this folder is; None for anything else."""
    for kind, alternatives in _MARKS.items():
        if any(all(_has(folder, name) for name in names) for names in alternatives):
            return kind
    if next(folder.glob("*/*/*_poses.npz"), None) is not None:
        return "AMASS"
    return None


def require_tree(root: Path, kind: TreeKind, *, inside: str = "", setting: str) -> Path:
    """The top level of a tree: `root`, or the folder `inside` it that the data set's archive makes.

    Raises:
        DataMissing: neither is such a tree; says whether one lies a folder higher or deeper, or which
            other data set was found.
    """
    for base in (root, root / inside):
        if recognise(base) == kind:
            return base
    marks = (
        " or ".join(" with ".join(names) for names in _MARKS[kind]) or "<subset>/<subject>/*_poses.npz"
    )
    found, fix = _look_around(root, kind, inside)
    raise DataMissing(
        f"not a tree of {kind}",
        where=root,
        expected=marks + (f", here or in {inside}/" if inside else ""),
        found=found,
        fix=f"set {setting} to {fix}",
    )


def _look_around(root: Path, kind: TreeKind, inside: str) -> tuple[str, str]:
    """What there is instead, and what to set."""
    the_top = "the folder that holds these"
    if not root.is_dir():
        return "no such folder", the_top
    for nearby, which in (
        (root.parent, "a folder higher"),
        *((c, "a folder deeper") for c in _below(root)),
    ):
        for base in (nearby, nearby / inside):
            if recognise(base) == kind:
                return f"the tree lies {which}, in {nearby}", str(nearby)
    for base in (root, *(root / name for name in _WRAPPERS)):
        other = recognise(base)
        if other is not None:
            return f"a tree of {other}", the_top
    names = ", ".join(sorted(path.name for path in root.iterdir())[:8])
    return names or "an empty folder", the_top


def _below(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _has(folder: Path, name: str) -> bool:
    path = folder / name
    return path.is_dir() if name.endswith("/") else path.is_file()

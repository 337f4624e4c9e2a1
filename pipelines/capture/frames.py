"""Which depth image, mask and keypoints belong to which colour image, and PROX's names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.capture.settings import CaptureSettings
from pipelines.errors import DataInvalid, DataMissing

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_KEYPOINTS_SUFFIX = "_keypoints"


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """The files of one instant."""

    name: str
    """PROX's frame name."""
    color: Path
    depth: Path | None
    mask: Path | None
    keypoints: Path | None
    others: Path | None
    """Keypoints of people who are not to be fitted."""


def list_captured(settings: CaptureSettings) -> tuple[CapturedFrame, ...]:
    """Every colour image with what belongs to it.

    Names are compared first; where fewer than half agree, the last number in each name is: a frame
    counter, or a timestamp that may be off by less than half a frame.

    Raises:
        DataMissing: a folder is absent or empty.
        DataInvalid: nothing belongs together.
    """
    colors = _files(settings.path(settings.color), _IMAGES, "colour images")
    depths = _files(settings.path(settings.depth), (".png",), "depth images")
    depth_of = match_names(colors, depths)
    if not depth_of:
        raise DataInvalid(
            "no depth image belongs to a colour image",
            where=settings.path(settings.depth),
            expected=f"names or numbers like {colors[0].name}",
            found=depths[0].name,
            fix="name both by the same frame number",
        )
    masks = _optional(settings, settings.masks, _IMAGES, "masks", colors)
    keypoints = _optional(settings, settings.keypoints, (".json",), "keypoints", colors)
    others = _optional(settings, settings.others, (".json",), "keypoints of others", colors)
    names = frame_names(colors, settings.frame_rate_hz)
    return tuple(
        CapturedFrame(
            name,
            color,
            depth=depth_of.get(color),
            mask=masks.get(color),
            keypoints=keypoints.get(color),
            others=others.get(color),
        )
        for name, color in zip(names, colors, strict=True)
    )


def match_names(colors: Sequence[Path], others: Sequence[Path]) -> dict[Path, Path]:
    """Colour image -> the other file of the same instant."""
    by_stem = {_stem(path): path for path in others}
    same = {color: by_stem[_stem(color)] for color in colors if _stem(color) in by_stem}
    if 2 * len(same) >= min(len(colors), len(others)):
        return same
    times, theirs = np.array(_numbers(colors)), np.array(_numbers(others))
    if not (np.isfinite(times).all() and np.isfinite(theirs).all()):
        return same
    step = float(np.median(np.diff(np.sort(times)))) if len(times) > 1 else 1.0
    nearest = np.abs(times[:, None] - theirs[None]).argmin(axis=1)
    close = np.abs(times - theirs[nearest]) < step / 2
    return {color: others[int(nearest[i])] for i, color in enumerate(colors) if close[i]}


def frame_names(colors: Sequence[Path], frame_rate_hz: float) -> tuple[str, ...]:
    """`s001_frame_00001__00.00.00.033`: the time is by the number in the name, so gaps stay gaps."""
    numbers = np.array(_numbers(colors))
    steps = np.diff(numbers)
    even = len(steps) > 0 and np.isfinite(steps).all() and bool((steps > 0).all())
    counts = np.rint((numbers - numbers[0]) / np.median(steps)) if even else np.arange(len(colors))
    names = []
    for index, count in enumerate(counts.tolist()):
        milliseconds = round(1000 * (count + 1) / frame_rate_hz)
        minutes, rest = divmod(milliseconds, 60_000)
        stamp = f"{minutes // 60:02d}.{minutes % 60:02d}.{rest // 1000:02d}.{rest % 1000:03d}"
        names.append(f"s001_frame_{index + 1:05d}__{stamp}")
    return tuple(names)


def _optional(
    settings: CaptureSettings,
    folder: Path | None,
    suffixes: tuple[str, ...],
    what: str,
    colors: Sequence[Path],
) -> Mapping[Path, Path]:
    if folder is None:
        return {}
    found = match_names(colors, _files(settings.path(folder), suffixes, what))
    if not found:
        raise DataInvalid(f"no {what} belong to the colour images", where=settings.path(folder))
    return found


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    if not folder.is_dir():
        raise DataMissing(f"folder of {what} not found", where=folder)
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    if not found:
        kinds = sorted({path.suffix for path in folder.iterdir()})
        raise DataMissing(
            f"no {what}", where=folder, expected=" ".join(suffixes), found=" ".join(kinds) or "nothing"
        )
    numbers = _numbers(found)
    if np.isfinite(numbers).all() and len(set(numbers)) == len(found):
        return [path for _, path in sorted(zip(numbers, found, strict=True))]  # frame_2 before frame_10
    return sorted(found)


def _stem(path: Path) -> str:
    return path.stem.removesuffix(_KEYPOINTS_SUFFIX)


def _numbers(paths: Sequence[Path]) -> list[float]:
    """The last number of each name; NaN where there is none."""
    found = [_NUMBER.findall(_stem(path)) for path in paths]
    return [float(numbers[-1]) if numbers else float("nan") for numbers in found]

"""What a folder holds, in a few lines: which data set, how much of it, and what is amiss at first sight.

Nothing here raises for the state of the data: every problem becomes a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.bodies.files import BodyFiles
from pipelines.errors import PipelineError
from pipelines.other_datasets.amass.dataset import AmassDataset
from pipelines.other_datasets.amass.motions import SUBSETS
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.people import (
    PersonEntry,
    people_of_egobody,
    people_of_prox,
    people_of_rich,
)
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.other_datasets.rich.dataset import RichDataset
from pipelines.other_datasets.sahmr_support.prox import ProxSupport
from pipelines.other_datasets.sahmr_support.rich import RichSupport, Split
from pipelines.other_datasets.trees import TreeKind, recognise

SAMPLED: Final = 4
"""People looked at, spread over all of them, unless all are asked for."""


USES: Final[dict[TreeKind | None, tuple[str, ...]]] = {
    "PROX qualitative": ('make pseudo-gt SET="prox.root=<folder>"',),
    "PROX quantitative": (
        'make pseudo-gt SET="prox.root=<folder>/quantitative prox.split=quantitative prox.frame_rate_hz=5"',
        'make marker-errors SET="run=<folder of the run>"',
        'make shards SET="source=prox_quantitative data.prox_quantitative.root=<folder>"',
    ),
    "RICH": ('make shards SET="source=rich data.rich.root=<folder>"',),
    "EgoBody": (
        'make egobody-capture SET="egobody.root=<folder> keypoints=<results of OpenPose> recording=<name>"',
        'make shards SET="source=egobody data.egobody.root=<folder>"',
    ),
    "SA-HMR support for RICH": ('make evaluate SET="samples=support support=<folder>"',),
    "SA-HMR support for PROX": ('make evaluate SET="samples=support support=<folder>"',),
    "AMASS": ('make train-priors SET="motions=amass amass.root=<folder>"',),
}
"""What a tree is good for: commands, with `<...>` to fill in."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    kind: TreeKind | None
    lines: tuple[str, ...]
    problems: tuple[str, ...]

    def to_text(self) -> str:
        """Plain text."""
        head = f"a tree of {self.kind}" if self.kind else "no data set that is known here"
        found = [f"  {line}" for line in self.lines]
        problems = [f"  problem: {problem}" for problem in self.problems]
        return "\n".join(
            [head, *found, *problems, *(f"  use: {use}" for use in USES.get(self.kind, ()))]
        )

    @property
    def ok(self) -> bool:
        """A data set that is known, with nothing amiss."""
        return self.kind is not None and not self.problems


def survey(root: Path, body_files: BodyFiles, *, full: bool = False) -> Survey:
    """Recognise a folder and look into it.

    Args:
        root: the folder.
        body_files: body models; bodies are moved between cameras.
        full: look at everyone instead of a few.
    """
    base, kind = _find(root)
    look = _LOOKS.get(kind) if kind is not None else None
    if look is None:
        note = "looked at by the doctor verb, with prox.root set" if kind else _names(root)
        return Survey(kind, (note,), ())
    lines: list[str] = []
    problems: list[str] = []
    try:
        lines += look(base, body_files, None if full else SAMPLED, problems)
    except PipelineError as error:
        problems.append(str(error))
    return Survey(kind, tuple(lines), tuple(problems))


def survey_of_stranger(root: Path, split: str, body_files: BodyFiles) -> Survey | None:
    """What a folder holds that was given as PROX; None where it holds the half of PROX that is asked for.

    Folders that nothing is known of give None too: the PROX doctor says what it misses in them.
    """
    wanted = f"PROX {split}"
    if wanted in (recognise(root), recognise(root / split)):
        return None
    _, kind = _find(root)
    return None if kind is None or kind == wanted else survey(root, body_files)


def _find(root: Path) -> tuple[Path, TreeKind | None]:
    """The data set in a folder, or in the one that its archive makes."""
    for base in (root, root / "quantitative", root / "sahmr_support"):
        kind = recognise(base)
        if kind is not None:
            return base, kind
    return root, None


def _quantitative(
    root: Path, files: BodyFiles, sampled: int | None, problems: list[str]
) -> Iterator[str]:
    data = ProxQuantitative(root, files)
    yield f"{len(data.recordings())} recordings"
    yield from _people(list(people_of_prox(data)), sampled, problems)


def _rich(root: Path, files: BodyFiles, sampled: int | None, problems: list[str]) -> Iterator[str]:
    data = RichDataset(root, files)
    names = data.sequences()
    splits = Counter(data.split(name) for name in names)
    yield f"{len(names)} sequences: " + ", ".join(f"{n} {split}" for split, n in splits.items())
    problems += [f"{name}: no calibrated view" for name in names if not data.views(name)]
    yield from _people(list(people_of_rich(data)), sampled, problems)


def _egobody(root: Path, files: BodyFiles, sampled: int | None, problems: list[str]) -> Iterator[str]:
    data = EgobodyDataset(root, files)
    names = data.recordings()
    views = Counter(len(data.views(name)) for name in names)
    told = ", ".join(f"{n} with {k} views" for k, n in sorted(views.items()))
    yield f"{len(names)} recordings: {told}"
    yield from _people(list(people_of_egobody(data)), sampled, problems)


def _rich_support(
    root: Path, files: BodyFiles, sampled: int | None, problems: list[str]
) -> Iterator[str]:
    data = RichSupport(root, files)
    yield f"{len(data.scene_files)} scenes, {len(data.cameras)} cameras"
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        if not (data.root / f"{split}_split").is_dir():
            continue
        samples = data.samples(split)
        absent = sum(not sample.image.is_file() for sample in samples)
        yield f"{split}: {len(samples)} samples, {absent} of them without an image file"
        problems += sorted(
            {f"scene {s.scene} is absent" for s in samples if s.scene not in data.scene_files}
        )


def _prox_support(
    root: Path, files: BodyFiles, sampled: int | None, problems: list[str]
) -> Iterator[str]:
    data = ProxSupport(root, files)
    samples = data.samples()
    absent = [s.key for s in samples if not (s.image.is_file() and s.mesh and s.mesh.is_file())]
    yield f"{len(samples)} samples, {len(absent)} of them without image or mesh"
    yield f"scene of {len(data.scene.points_world)} voxels of {1000 * data.scene.pitch_m:.0f} mm"


def _amass(root: Path, files: BodyFiles, sampled: int | None, problems: list[str]) -> Iterator[str]:
    data = AmassDataset(root, files)
    for split in SUBSETS:
        absent = data.missing_subsets(split)
        yield f"{split}: {len(data.motions(split))} motions; absent subsets: {', '.join(absent) or 'none'}"


def _people(entries: list[PersonEntry], sampled: int | None, problems: list[str]) -> Iterator[str]:
    """One line per person and camera looked at."""
    step = 1 if sampled is None else max(1, -(-len(entries) // sampled))
    for entry in entries[::step]:
        try:
            person = entry.read()
        except PipelineError as error:
            problems.append(f"{entry.name}: {error}")
            continue
        bodies = person.bodies
        counts = Counter(reason for reason in bodies.status if reason)
        amiss = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())) or "all usable"
        yield (
            f"{entry.name}: {bodies.gender}, {len(bodies.status)} frames, bodies {amiss}, "
            f"{int(person.has_image.sum())} images of {person.view.name}"
        )


def _names(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    return ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "an empty folder"


_LOOKS: dict[str, Callable[[Path, BodyFiles, int | None, list[str]], Iterator[str]]] = {
    "PROX quantitative": _quantitative,
    "RICH": _rich,
    "EgoBody": _egobody,
    "SA-HMR support for RICH": _rich_support,
    "SA-HMR support for PROX": _prox_support,
    "AMASS": _amass,
}

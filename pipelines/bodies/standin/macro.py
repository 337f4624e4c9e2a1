"""MakeHuman's macro body space: a body = base + targets weighted by products of body factors."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from pipelines.bodies.standin.assets import DECIMETRE, NUM_BODY, BaseMesh, read_target
from pipelines.records import Gender

_GENDERS = ("female", "male")
_AGES = ("young", "old")
_MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
_WEIGHTS = ("minweight", "averageweight", "maxweight")
_HEIGHTS = ("minheight", "maxheight")
_PROPORTIONS = ("uncommonproportions", "idealproportions")
_CUPS = ("mincup", "averagecup", "maxcup")
_FIRMNESSES = ("minfirmness", "averagefirmness", "maxfirmness")
_RACES = ("african", "asian", "caucasian")

MEAN_HEIGHT_M = {"male": (1.77, 0.072), "female": (1.64, 0.066)}
"""Mean and standard deviation of adult heights that sampled bodies follow."""


@dataclass(frozen=True, slots=True)
class BodyFactors:
    """Sliders of one body, each in [0, 1]."""

    gender: float
    """0 female, 1 male."""
    age: float
    """0 young adult, 1 old."""
    muscle: float
    weight: float
    proportions: float
    cup: float
    firmness: float
    races: tuple[float, ...]
    height: float = 0.5

    def anchor_weights(self) -> dict[str, float]:
        """Weight of each named anchor; a target counts with the product over its anchors."""
        return {
            "female": 1 - self.gender,
            "male": self.gender,
            "young": 1 - self.age,
            "old": self.age,
            **_three_anchors(self.muscle, _MUSCLES),
            **_three_anchors(self.weight, _WEIGHTS),
            **_two_sided(self.height, _HEIGHTS),
            **_two_sided(self.proportions, _PROPORTIONS),
            **_three_anchors(self.cup, _CUPS),
            **_three_anchors(self.firmness, _FIRMNESSES),
            **dict(zip(_RACES, self.races, strict=True)),
        }


@dataclass(frozen=True, slots=True, eq=False)
class MacroSpace:
    """All adult macro targets."""

    anchors: tuple[tuple[str, ...], ...]
    targets: Float32[np.ndarray, "targets all 3"]
    base: Float[np.ndarray, "all 3"]

    def coefficients(self, factors: BodyFactors) -> Float[np.ndarray, " targets"]:
        """Weight of every target."""
        weights = factors.anchor_weights()
        return np.array([np.prod([weights[name] for name in names]) for names in self.anchors])

    def shapes(self, bodies: list[BodyFactors]) -> Float[np.ndarray, "bodies all 3"]:
        """Vertices of some bodies, metres."""
        rows = np.stack([self.coefficients(body) for body in bodies]).astype(np.float32)
        moved = (rows @ self.targets.reshape(len(self.targets), -1)).reshape(len(bodies), -1, 3)
        return (self.base + moved) * DECIMETRE

    def heights_m(self, bodies: list[BodyFactors]) -> Float[np.ndarray, " bodies"]:
        """Standing heights of some bodies."""
        rows = np.stack([self.coefficients(body) for body in bodies]).astype(np.float32)
        y = self.base[:NUM_BODY, 1] + rows @ np.ascontiguousarray(self.targets[:, :NUM_BODY, 1])
        return np.ptp(y, axis=1) * DECIMETRE


def read_macro_space(assets: Path, mesh: BaseMesh) -> MacroSpace:
    """Read the adult macro targets that exist as files."""
    details = assets / "mpfb2" / "targets" / "macrodetails"
    breast = assets / "mpfb2" / "targets" / "breast"
    files: list[tuple[Path, tuple[str, ...]]] = []
    for gender, age in itertools.product(_GENDERS, _AGES):
        files += [(details / f"{r}-{gender}-{age}", (r, gender, age)) for r in _RACES]
        for muscle, weight in itertools.product(_MUSCLES, _WEIGHTS):
            names = (gender, age, muscle, weight)
            stem = "-".join(names)
            files.append((details / f"universal-{stem}", names))
            files += [(details / "height" / f"{stem}-{h}", (*names, h)) for h in _HEIGHTS]
            files += [(details / "proportions" / f"{stem}-{p}", (*names, p)) for p in _PROPORTIONS]
            for cup, firm in itertools.product(_CUPS, _FIRMNESSES):
                files.append((breast / f"{stem}-{cup}-{firm}", (*names, cup, firm)))
    present = [(path.with_name(f"{path.name}.target.gz"), names) for path, names in files]
    present = [(path, names) for path, names in present if path.is_file()]
    targets = np.stack([read_target(path, len(mesh.vertices)) for path, _ in present])
    return MacroSpace(tuple(names for _, names in present), targets, mesh.vertices)


def sample_bodies(
    space: MacroSpace, gender: Gender, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "bodies all 3"]:
    """Random adults of one gender (neutral: half and half) in MakeHuman's own pose, metres.

    Height is drawn in metres and the slider solved for, since a uniform slider gives giants.
    """
    bodies, wanted = [], []
    for index in range(count):
        male = index % 2 == 0 if gender == "neutral" else gender == "male"
        bodies.append(_draw(male, rng))
        wanted.append(rng.normal(*MEAN_HEIGHT_M["male" if male else "female"]))
    low, middle, high = (
        space.heights_m([replace(body, height=h) for body in bodies]) for h in (0.0, 0.5, 1.0)
    )
    target = np.array(wanted)
    below = 0.5 * (target - low) / (middle - low)
    above = 0.5 + 0.5 * (target - middle) / (high - middle)
    sliders = np.clip(np.where(target < middle, below, above), 0, 1)
    return space.shapes([replace(b, height=float(h)) for b, h in zip(bodies, sliders, strict=True)])


def _draw(male: bool, rng: np.random.Generator) -> BodyFactors:
    def slider(mean: float, spread: float) -> float:
        return float(np.clip(rng.normal(mean, spread), 0, 1))

    return BodyFactors(
        gender=slider(0.92 if male else 0.08, 0.08),
        age=rng.uniform(0, 0.9),
        muscle=slider(0.55 if male else 0.45, 0.16),
        weight=slider(0.5, 0.19),
        proportions=slider(0.5, 0.2),
        cup=rng.uniform(0.1, 0.9),
        firmness=rng.uniform(0.2, 0.8),
        races=tuple(rng.dirichlet([1, 1, 1]).tolist()),
    )


def _three_anchors(value: float, names: tuple[str, ...]) -> dict[str, float]:
    low, middle, high = names
    return {low: max(0.0, 1 - 2 * value), middle: 1 - abs(2 * value - 1), high: max(0.0, 2 * value - 1)}


def _two_sided(value: float, names: tuple[str, ...]) -> dict[str, float]:
    low, high = names
    return {low: max(0.0, 1 - 2 * value), high: max(0.0, 2 * value - 1)}

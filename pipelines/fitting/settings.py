"""Settings of the HuMoR fit: every stage is data, the official schedule is one preset.

Source of every official number: humor `configs/fit_proxd.cfg` and `fitting/motion_optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from pipelines.config import Settings

TermName = Literal[
    "points3d",
    "joints2d",
    "lifted_joints3d",
    "pose_prior",
    "shape_prior",
    "joints3d_smooth",
    "motion_prior",
    "init_motion_prior",
    "joint_consistency",
    "bone_length",
    "contact_vel",
    "contact_height",
    "floor_reg",
    "rgb_overlap_consist",
    "follow_velocity",
    "follow_place",
    "follow_turns",
    "prox_penetration",
    "prox_contact",
]
"""Energy terms; see `energies.py` and `scene_energies.py`."""

VariableName = Literal[
    "trans",
    "root_orient",
    "latent_pose",
    "betas",
    "latent_motion",
    "trans_vel",
    "joints_vel",
    "root_orient_vel",
    "floor_plane",
    "body_pose",
]

SCENE_TERMS: tuple[TermName, ...] = ("prox_penetration", "prox_contact")
ALL_VARIABLES: tuple[VariableName, ...] = get_args(VariableName)
MOTION_VARIABLES = tuple(name for name in ALL_VARIABLES if name != "body_pose")
_FRAME_VARIABLES: tuple[VariableName, ...] = ("trans", "root_orient", "betas", "latent_pose")
_POSE_VARIABLES: tuple[VariableName, ...] = ("trans", "root_orient", "betas", "body_pose")
_DATA_TERMS: set[TermName] = {"points3d", "joints2d", "lifted_joints3d", "shape_prior"}
_FOLLOW_TERMS: set[TermName] = {"follow_velocity", "follow_place", "follow_turns"}
_FRAME_TERMS = _DATA_TERMS | {"pose_prior", "joints3d_smooth", "rgb_overlap_consist"}
_POSE_TERMS = _DATA_TERMS | _FOLLOW_TERMS | {"contact_vel", *SCENE_TERMS}
_MOTION_TERMS = set(get_args(TermName)) - _FOLLOW_TERMS


_ALLOWED: dict[str, tuple[Set[str], tuple[VariableName, ...]]] = {
    "frames": (_FRAME_TERMS, _FRAME_VARIABLES),
    "motion": (_MOTION_TERMS, MOTION_VARIABLES),
    "poses": (_POSE_TERMS, _POSE_VARIABLES),
}
"""Terms and variables of each kind of stage."""


class WindowSettings(Settings):
    """How a recording is cut into windows and put together again."""

    length: int = Field(60, ge=2)
    """Frames per window (HuMoR: 60)."""
    overlap: int = Field(10, ge=0)
    """Least frames shared by neighbours (HuMoR's rule for RGB videos; for PROX it used 0)."""
    trim_frames: int = Field(0, ge=0)
    """Frames at each end of the recording that are not fitted (HuMoR dropped 90)."""
    frame_stages: Literal["windows", "segments"] = "segments"
    """Stages 1-2 know no window: `segments` solves every frame once, in runs of up to `run_length`
    frames, and cuts the result into windows; `windows` is HuMoR's way, overlaps solved twice."""
    run_length: int = Field(240, ge=2)
    stitch: Literal["earlier_wins", "cross_fade"] = "cross_fade"
    """HuMoR lets the earlier window win inside an overlap; cross-fading has smaller seams."""

    @model_validator(mode="after")
    def _overlap_fits(self) -> WindowSettings:
        if self.overlap > self.length // 2:
            raise ValueError(f"overlap {self.overlap} exceeds half of the window length {self.length}")
        return self


class SolverSettings(Settings):
    """How a stage is minimised."""

    method: Literal["reference_lbfgs", "gauss_newton"] = "gauss_newton"
    """`reference_lbfgs`: torch's L-BFGS as HuMoR calls it. `gauss_newton`: damped Gauss-Newton steps with
    the exact gradient and an approximate curvature, robust weights frozen inside a step."""
    steps: int = Field(30, ge=0)
    """Outer steps at most."""
    inner_iterations: int = Field(20, ge=1)
    """L-BFGS iterations in one outer step (reference only)."""
    stop_below: float = Field(0.0, ge=0)
    """End the stage when outer steps lower the energy by less than this share; 0 = never."""
    patience: int = Field(2, ge=1)
    """So many such steps in a row end it."""
    first_damping: float = Field(1e-2, gt=0)
    """Share of its own curvature added to every direction in the first step; later ones adapt. The more,
    the shorter the steps (Gauss-Newton only)."""
    points_per_frame: int | None = Field(None, ge=1)
    """Depth points used while minimising (their energy scaled up to all of them); None = all."""
    curvature_reuse: int = Field(1, ge=1)
    """Steps taken with one curvature before it is made anew (Gauss-Newton only)."""


class StageSettings(Settings):
    """One stage: what moves, what it costs, which frames it sees."""

    name: str
    kind: Literal["frames", "motion", "poses"]
    """`frames`: every frame has its own latent pose. `motion`: poses are rolled out by the motion prior.
    `poses`: every frame has its own joint rotations, near a motion found before."""
    free: tuple[VariableName, ...]
    weights: dict[TermName, float]
    """Unnamed terms are off."""
    num_frames: int | None = Field(None, ge=1)
    """Leading frames of each window in use; None = all."""
    init_motion_scale: float = 1.0
    """Factor of `init_motion_prior`; HuMoR: window frames over the first stage's frames."""
    solver: SolverSettings = SolverSettings()

    @model_validator(mode="after")
    def _consistent(self) -> StageSettings:
        if not any(weight > 0 for weight in self.weights.values()):
            raise ValueError(f"stage {self.name}: no term has a positive weight")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"stage {self.name}: weights are not negative")
        terms, variables = _ALLOWED[self.kind]
        wrong = [term for term in self.weights if term not in terms and self.weights[term] > 0]
        strangers = sorted(set(self.free) - set(variables))
        if wrong or strangers:
            raise ValueError(
                f"stage {self.name}: terms {sorted(wrong)} or variables {strangers} do not belong to "
                f"a stage of kind '{self.kind}'"
            )
        return self

    @property
    def active_terms(self) -> tuple[TermName, ...]:
        """Terms with a positive weight, in the order of `TermName`."""
        return tuple(term for term in get_args(TermName) if self.weights.get(term, 0.0) > 0)

    def without_scene(self) -> StageSettings:
        """The same stage with PROX's scene terms off."""
        weights = {term: w for term, w in self.weights.items() if term not in SCENE_TERMS}
        return self.model_copy(update={"weights": weights})


_POINTS: dict[TermName, float] = {"points3d": 1.0, "joints2d": 0.001}
_STAGE3: dict[TermName, float] = {
    **_POINTS,
    "shape_prior": 0.034,
    "motion_prior": 0.075,
    "init_motion_prior": 0.075,
    "joint_consistency": 100.0,
    "bone_length": 2000.0,
    "contact_vel": 100.0,
    "contact_height": 10.0,
    "floor_reg": 1.0,
}
_OVERLAP: dict[TermName, float] = {"rgb_overlap_consist": 200.0}
_PENETRATION: dict[TermName, float] = {"prox_penetration": 0.1}
_NO_CONTACT: dict[TermName, float] = {"contact_vel": 0.0, "contact_height": 0.0}


def _reference_solver(steps: int) -> SolverSettings:
    return SolverSettings(method="reference_lbfgs", steps=steps)


def official_stages() -> tuple[StageSettings, ...]:
    """HuMoR's five optimisations with PROX's scene terms added (weights: section 14, a judgement).

    Stage 3 runs as one list of 70 steps in HuMoR; its three parts differ in frames, weights and free
    variables, so here they are three stages.
    """
    return (
        StageSettings(
            name="1",
            kind="frames",
            free=("trans", "root_orient"),
            weights={**_POINTS, **_OVERLAP},
            solver=_reference_solver(30),
        ),
        StageSettings(
            name="2",
            kind="frames",
            free=_FRAME_VARIABLES,
            weights={
                **_POINTS,
                **_OVERLAP,
                "pose_prior": 0.1,
                "shape_prior": 0.034,
                "joints3d_smooth": 100.0,
            },
            solver=_reference_solver(70),
        ),
        StageSettings(
            name="3a",
            kind="motion",
            free=MOTION_VARIABLES,
            weights=_STAGE3,
            num_frames=15,
            solver=_reference_solver(30),
        ),
        StageSettings(
            name="3b",
            kind="motion",
            free=("latent_motion", "betas", "floor_plane"),
            weights={**_STAGE3, **_OVERLAP, **_NO_CONTACT, **_PENETRATION},
            init_motion_scale=4.0,
            solver=_reference_solver(25),
        ),
        StageSettings(
            name="3c",
            kind="motion",
            free=MOTION_VARIABLES,
            weights={**_STAGE3, **_OVERLAP, **_PENETRATION, "prox_contact": 10.0},
            init_motion_scale=4.0,
            solver=_reference_solver(15),
        ),
    )


def fast_stages() -> tuple[StageSettings, ...]:
    """The official energies, minimised by Gauss-Newton steps that stop when nothing is gained.

    Differs from HuMoR: a stage `lift` between 1 and 2 poses the limbs by keypoints lifted with the depth,
    without which seated bodies end in a wrong minimum. Stages `light` and 3b move everything, keep the
    contacts, and leave overlaps and scene terms to 3c, so that all rows share them. They give the priors
    a quarter, then a third of their weight and so come to 3c from the side of what was observed. 3c
    follows the official energy only while a short step gains much, for its lower end is farther from the
    truth (decision 12). There the contact term has a tenth of the weight carried over from PROX: with all
    of it a seated body was drawn off (V2V 23 against 13 mm).
    """
    solvers = {
        "1": SolverSettings(steps=10, stop_below=2e-3, points_per_frame=512),
        "2": SolverSettings(steps=25, stop_below=5e-4, points_per_frame=1024),
        "3a": SolverSettings(steps=8, stop_below=5e-3, points_per_frame=512),
        "3b": SolverSettings(steps=14, stop_below=2e-3, points_per_frame=1024),
        "3c": SolverSettings(steps=12, stop_below=0.05, patience=1, first_damping=10.0),
    }
    weights = {
        "3b": _lighter_priors(1 / 3),
        "3c": {**_STAGE3, **_OVERLAP, **_PENETRATION, "prox_contact": 1.0},
    }
    first, second, start, whole, last = (
        stage.model_copy(
            update={
                "solver": solvers[stage.name],
                "weights": weights.get(stage.name, stage.weights),
                "free": MOTION_VARIABLES if stage.kind == "motion" else stage.free,
            }
        )
        for stage in official_stages()
    )
    light = whole.model_copy(
        update={
            "name": "light",
            "weights": _lighter_priors(0.25),
            "solver": whole.solver.model_copy(update={"steps": 20}),
        }
    )
    return (first, _lift_stage(), second, start, light, whole, last, _refine_stage())


def _lighter_priors(share: float) -> dict[TermName, float]:
    """Stage 3's weights with this share of both motion priors."""
    priors: tuple[TermName, ...] = ("motion_prior", "init_motion_prior")
    return {**_STAGE3, **{term: share * _STAGE3[term] for term in priors}}


def _lift_stage() -> StageSettings:
    return StageSettings(
        name="lift",
        kind="frames",
        free=("trans", "root_orient", "latent_pose"),
        weights={
            "joints2d": 0.001,
            "lifted_joints3d": 100.0,
            "pose_prior": 0.1,
            "joints3d_smooth": 10.0,
        },
        solver=SolverSettings(steps=15, stop_below=2e-3),
    )


def _refine_stage() -> StageSettings:
    """Every frame may leave the roll-out for what was observed, smoothly and not far.

    Differs from HuMoR, which ends with the roll-out: its prior, trained on some other motion, keeps the
    body a few centimetres away from what keypoints and depth say.
    """
    return StageSettings(
        name="refine",
        kind="poses",
        free=_POSE_VARIABLES,
        weights={
            "points3d": 8.0,
            "joints2d": 0.002,
            "shape_prior": 0.003,
            "contact_vel": 100.0,
            "follow_velocity": 300.0,
            "follow_place": 1.0,
            "follow_turns": 1.0,
            "prox_penetration": 1.0,
            "prox_contact": 1.0,
        },
        solver=SolverSettings(steps=30, stop_below=2e-4, points_per_frame=1024),
    )


class HumorSettings(Settings):
    """Everything the HuMoR fit can be told."""

    preset: Literal["fast", "reference"] = "fast"
    """Schedule used where `stages` is not given: ours, or the official optimiser's."""
    stages: tuple[StageSettings, ...] = ()
    """Filled from the preset when empty."""
    windows: WindowSettings = WindowSettings()
    gender: Literal["subject", "neutral"] = "subject"
    """Differs from HuMoR: it fits everyone with the neutral body; choose `neutral` for that."""
    num_betas: int = Field(10, ge=1, le=16)
    initialisation: Literal["torso", "official"] = "torso"
    """`official`: upright, facing the camera; `torso`: from the torso's keypoints and depth."""
    mend_side_swaps: bool = True
    """Exchange left and right arms or legs in frames where the detector confused them.

    Differs from HuMoR, which takes keypoints as they are."""
    windows_at_once: int = Field(1, ge=1)
    """Windows of stage 3 solved in one batch. With one, each window stops by itself and meets its
    neighbours as they are (block descent on the overlap energy); more are no faster on a CPU."""
    heading: Literal["acos", "atan2"] = "atan2"
    """Form of the roll-out's heading rotation; `acos` is the official one."""
    floor_reg_factor: float = Field(1.0, gt=0)
    """Multiplies `floor_reg`; raise it for a floor measured on the scan (1 = official)."""
    floor_contacts_only: bool = False
    """True: `contact_height` leaves out joints under which the scene rises more than 10 cm above the
    floor (a sofa), which then are the business of `prox_contact`."""
    sdf_vertex_factor: float = Field(1.0, gt=0)
    """Multiplies `prox_penetration`; 1.52 makes up for 6890 vertices against SMPL-X's 10475."""
    precision: Literal["float32", "float64"] = "float32"
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _fill_stages(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and not tree.get("stages"):
            chosen = official_stages() if tree.get("preset") == "reference" else fast_stages()
            return {**tree, "stages": chosen}
        return tree

    @model_validator(mode="after")
    def _stages_in_order(self) -> HumorSettings:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names repeat: {names}")
        kinds = [stage.kind for stage in self.stages]
        if "frames" not in kinds or kinds != sorted(kinds, key=list(_ALLOWED).index):
            raise ValueError("stages of kind 'frames' come first, then 'motion', then 'poses'")
        if "poses" in kinds and "motion" not in kinds:
            raise ValueError("a stage of kind 'poses' needs a stage of kind 'motion' before it")
        return self

    @classmethod
    def reference(cls, **changes: Any) -> HumorSettings:
        """The official schedule: acos heading, torch's L-BFGS, the official start."""
        official = {
            "preset": "reference",
            "heading": "acos",
            "initialisation": "official",
            "windows_at_once": 2,
            "windows": WindowSettings(frame_stages="windows", stitch="earlier_wins"),
        }
        return cls(**{**official, **changes})

    @property
    def frame_stages(self) -> tuple[StageSettings, ...]:
        """Stages 1 and 2."""
        return tuple(stage for stage in self.stages if stage.kind == "frames")

    @property
    def motion_stages(self) -> tuple[StageSettings, ...]:
        """Stages 3a, 3b, 3c."""
        return tuple(stage for stage in self.stages if stage.kind == "motion")

    @property
    def pose_stages(self) -> tuple[StageSettings, ...]:
        """What follows stage 3."""
        return tuple(stage for stage in self.stages if stage.kind == "poses")

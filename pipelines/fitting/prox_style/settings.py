"""Settings of the PROX-style per-frame fit: PROX's seven stages with their published weights.

Source: prox `cfg_files/PROXD.yaml`. PROX squares the weights of data, body pose, hands, bending, shape,
expression and jaw, and takes those of the two depth terms and the two scene terms as they are;
`StageWeights.factors` is where that happens.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.config import Settings

BENDING_PER_BODY_POSE = 3.17
"""PROX derives the bending weight from the body-pose weight."""


class StageWeights(Settings):
    """Weights of one stage as they stand in PROXD.yaml."""

    data: float = Field(1.0, ge=0)
    hand_joints: float = Field(ge=0)
    """Joint weight of keypoint rows 25:76; squared together with the confidence."""
    face_joints: float = Field(ge=0)
    """Joint weight of keypoint rows 76:118."""
    body_pose: float = Field(ge=0)
    """Also the weight of both hands."""
    shape: float = Field(ge=0)
    """Also the weight of the expression."""
    jaw: float = Field(ge=0)
    """Weight of the jaw's x axis; y and z have ten times as much."""
    scan_to_body: float = Field(ge=0)
    body_to_scan: float = Field(1.0, ge=0)
    penetration: float = Field(0.0, ge=0)
    contact: float = Field(0.0, ge=0)
    free_transl: bool = True

    @property
    def jaw_axes(self) -> tuple[float, float, float]:
        """Weights of the jaw's x, y and z rotation, multiplied into the pose before squaring."""
        return (self.jaw, 10 * self.jaw, 10 * self.jaw)

    def factors(self) -> dict[str, float]:
        """Multiplier of each unweighted term; the jaw's axes are weighted inside its term."""
        return {
            "data": self.data**2,
            "body_pose": self.body_pose**2,
            "shape": self.shape**2,
            "bending": (BENDING_PER_BODY_POSE * self.body_pose) ** 2,
            "left_hand": self.body_pose**2,
            "right_hand": self.body_pose**2,
            "expression": self.shape**2,
            "jaw": 1.0,
            "s2m": self.scan_to_body,
            "m2s": self.body_to_scan,
            "penetration": self.penetration,
            "contact": self.contact,
        }


def _stage(body_pose: float, shape: float, scan_to_body: float, **others: Any) -> StageWeights:
    values: dict[str, Any] = {"hand_joints": 0.0, "face_joints": 0.0, **others}
    return StageWeights(
        body_pose=body_pose,
        shape=shape,
        scan_to_body=scan_to_body,
        jaw=10 * body_pose,
        **values,
    )


def proxd_stages() -> tuple[StageWeights, ...]:
    """The seven stages of PROXD.yaml, self-collision left out."""
    return (
        _stage(404.0, 100.0, 1.0, free_transl=False),
        _stage(404.0, 50.0, 1.0, free_transl=False),
        _stage(57.4, 10.0, 100.0),
        _stage(4.78, 5.0, 500.0, hand_joints=0.1),
        _stage(4.78, 5.0, 500.0, hand_joints=2.0, face_joints=2.0),
        _stage(4.78, 5.0, 500.0, hand_joints=2.0, face_joints=2.0, penetration=100.0),
        _stage(4.78, 5.0, 500.0, hand_joints=2.0, face_joints=2.0, penetration=1.0, contact=10000.0),
    )


class ProxStyleSolverSettings(Settings):
    """How a stage is minimised. Same energies and stages whichever method."""

    method: Literal["gauss_newton", "lbfgs"] = "gauss_newton"
    """`gauss_newton`: damped quasi-Newton steps from the Gauss-Newton matrix, on the exact energy and
    gradient. `lbfgs`: PROX's own optimiser, one L-BFGS with strong Wolfe line search per frame; the
    reference, many times slower."""
    iterations: int = Field(100, ge=1)
    """Steps per round at most, tried or taken. The limits are there for frames that never settle: every
    other one ends by the tolerances, and twice the limits would change nothing."""
    rounds: int = Field(10, ge=1)
    """Rounds per stage at most; the visible set is brought up to date at the start of each."""
    last_rounds: int = Field(20, ge=1)
    """Rounds of the last stage at most."""
    tolerance: float = Field(1e-3, gt=0)
    """A round of a frame ends after two steps in a row that lower its energy by a smaller share; a stage
    after a round that does."""
    last_tolerance: float = Field(1e-5, gt=0)
    """The same for the last stage, whose result is kept; the others only lead to it."""
    anchors: int = Field(400, ge=1)
    """Vertices on which depth and scene forces are gathered for the Gauss-Newton matrix."""
    tangential: float = Field(0.1, ge=0, le=1)
    """Curvature of a depth pair along the surface, as a share of that along its normal."""


class ProxStyleSettings(Settings):
    """The baseline: energies and weights of PROX (PROXD), self-collision left out."""

    stages: tuple[StageWeights, ...] = Field(default_factory=proxd_stages)
    data_rho_px: float = Field(100.0, gt=0)
    scan_to_body_rho_m: float = Field(0.2, gt=0)
    body_to_scan_rho_m: float = Field(0.5, gt=0)
    contact_rho_m: float = Field(0.05, gt=0)
    contact_angle_deg: float = Field(45.0, gt=0, le=90)
    contact_search_share: float = Field(0.01, ge=0)
    """Tolerance of the search for the nearest scene vertex, as a share of the distance; 0 = exact."""
    official_hand_slice: bool = True
    """PROX gives the first nine face points (rows 67:76) the hand weight; False ends the hands at 67."""
    bending_exponent_cap: float | None = Field(3.141592653589793, gt=0)
    """Beyond it the bending prior goes on linearly. VPoser's angles never exceed pi, so that pi
    changes nothing for it; an unbounded pose prior needs the cap."""
    camera_depth_weight: float = Field(100.0, ge=0)
    """Squared; holds the depth of `transl` to the mean of the person's points (camera stage)."""
    orientation_try: Literal["official", "always"] = "always"
    """`official`: PROX's zero start, and a second run of all stages turned about the body's y axis where
    the shoulders are closer than `two_sided_px`. `always`: several `starts` for every frame, the lowest
    energy after `orientation_stages` goes on."""
    starts: int = Field(4, ge=1)
    """`always` only: starts at evenly spaced turns about the upright body's axis, the first faces the
    camera."""
    finalists: int = Field(2, ge=1)
    """`always` only: so many starts with the lowest energies go on after the screening."""
    orientation_stages: int = Field(4, ge=1)
    screening_stages: int = Field(3, ge=0)
    """`always` only: after so many stages, of starts that have come to the same orientation the one with
    the lowest energy stays, and of these the `finalists`."""
    two_sided_px: float = Field(25.0, ge=0)
    num_points: int = Field(1024, ge=1)
    """Person points per frame; the energy's sum over points is scaled to the full number."""
    num_body_vertices: int = Field(1024, ge=1)
    """About so many visible vertices enter m2s, every n-th, the sum scaled to all of them."""
    visibility_slack_m: float = Field(0.004, ge=0)
    """The visible set is found anew when the body has moved by more than this on average."""
    solver: ProxStyleSolverSettings = Field(default_factory=ProxStyleSolverSettings)
    frames_at_once: int = Field(16, ge=1)
    """Bodies evaluated in one batch; bounds the memory, changes nothing else."""
    frames_per_chunk: int = Field(64, ge=1)
    """Frames between two checkpoints."""

    @model_validator(mode="after")
    def _orientation_stages_exist(self) -> ProxStyleSettings:
        if not self.screening_stages <= self.orientation_stages <= len(self.stages):
            raise ValueError("screening_stages <= orientation_stages <= number of stages must hold")
        return self

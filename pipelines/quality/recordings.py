"""Which synthetic recordings the scores are calibrated on, and which they are tested on.

Different in everything but the families of motion: trees' seeds (bodies, rooms, clothes, noise), rooms,
subjects, motions, captured walks. The detector is the generator's default one. Frames far off the truth
are rare in the easy rooms of the benchmark, so that most people here are filmed past a desk, a counter or
a screen.
"""

from __future__ import annotations

from typing import Final, Literal

from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings

SetName = Literal["calibration", "test"]

# scene, subject, family, frames, seed, wanted share of occluded frames
_CALIBRATION: Final = (
    ("Attic", 501, "walk", 45, 303, 1.0),
    ("Barn", 162, "lie_down", 40, 502, 0.9),
    ("Chapel", 503, "chair_rise", 32, 503, 1.0),
    ("Foyer", 506, "bed_recline", 32, 506, 0.9),
    ("Estate", 3452, "walk", 64, 306, 0.9),
    ("Garage", 507, "shelf_reach", 32, 507, 0.9),
    ("Kiosk", 511, "lie_down", 32, 511, 0.7),
    ("Hall", 162, "step_turn", 32, 508, 1.0),
    ("Depot", 504, "floor_pick", 32, 504, 0.9),
    ("Loft", 512, "sofa_sit", 32, 512, 0.2),
)
_TEST: Final = (
    ("Mill", 601, "walk", 45, 705, 1.0),
    ("Nook", 159, "lie_down", 54, 602, 0.9),
    ("Office", 603, "pivot_turn", 45, 603, 1.0),
    ("Patio", 604, "sofa_visit", 72, 604, 0.8),
    ("Quarry", 3403, "walk", 45, 706, 1.0),
    ("Refuge", 606, "lie_down", 45, 606, 0.9),
    ("Shed", 607, "shelf_reach", 32, 607, 1.0),
    ("Vault", 610, "lie_down", 45, 610, 0.9),
    ("Upstairs", 609, "walk", 64, 718, 1.0),
    ("Tower", 159, "sofa_rise", 32, 608, 1.0),
    ("Harbour", 159, "lie_down", 45, 620, 0.9),
    ("Annex", 613, "walk", 40, 708, 1.0),
    ("Ward", 3403, "pivot_turn", 32, 611, 0.8),
    ("Cabin", 615, "lie_down", 45, 615, 0.6),
    ("Yard", 612, "sofa_sit", 32, 612, 0.9),
    ("Exchange", 3403, "walk", 40, 711, 0.8),
    ("Bunker", 159, "shelf_reach", 32, 614, 0.4),
    ("Dorm", 616, "sofa_visit", 32, 616, 0.5),
    ("Forge", 618, "pivot_turn", 32, 618, 0.2),
    ("Inn", 621, "walk", 32, 714, 0.0),
)
_TREES: Final = {"calibration": (_CALIBRATION, 41), "test": (_TEST, 42)}
"""Set -> recordings, seed of its tree."""


def synthetic_set(name: SetName) -> SyntheticSettings:
    """The tree of one set."""
    table, seed = _TREES[name]
    return SyntheticSettings(
        preset=f"quality-{name}",
        seed=seed,
        recordings=tuple(
            RecordingSpec(
                scene=scene,
                subject=subject,
                family=family,
                num_frames=num_frames,
                seed=motion_seed,
                occluded_frames=occluded,
            )
            for scene, subject, family, num_frames, motion_seed, occluded in table
        ),
        sdf_size=128,
        scan_edge_m=0.03,
        skeletons=False,
    )

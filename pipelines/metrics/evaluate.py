"""All metrics of all methods on one recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pipelines.artifacts import code_version, write_json
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.metrics import plausibility, reprojection
from pipelines.metrics.anatomy import BodyAnatomy
from pipelines.metrics.frames import FrameSelection, select_frames
from pipelines.metrics.penetration import penetration, signed_distances
from pipelines.metrics.seams import seam_jump
from pipelines.metrics.settings import MetricSettings
from pipelines.metrics.tally import Tally, by_key, pool
from pipelines.metrics.truth import (
    FrameSubsets,
    acceleration_error,
    frame_subsets,
    truth_errors,
)
from pipelines.records import (
    BodyTrack,
    FittedSequence,
    SceneScan,
    SequenceObservations,
    SyntheticTruth,
)

TRUTH = "truth"
"""Name of the row that measures the true bodies themselves: the floor no method can be below."""
TOPOLOGY = "smplh_6890"
PROJECTION = "pinhole without distortion"
_FRAMES_AT_ONCE = 256
SDF_CONVENTION = "trilinear, align_corners=True, border clamp, array [ix, iy, iz], negative inside"


@dataclass(frozen=True, slots=True)
class RecordingMetrics:
    """Sums of every metric of every method on one recording."""

    recording: str
    scene: str
    motion_family: str | None
    """None on data without truth."""
    frames: FrameSelection
    methods: Mapping[str, Mapping[str, Tally]]
    """Method -> metric key -> tally; `truth` is a row of its own where truth is known."""
    provenance: Mapping[str, str]
    """What two results must share to be comparable."""
    warnings: tuple[str, ...] = ()
    code: str = field(default_factory=lambda: code_version("pipelines/metrics"))

    def to_json(self) -> dict[str, Any]:
        """Plain mapping; `from_json` restores it exactly."""
        return {
            "recording": self.recording,
            "scene": self.scene,
            "motion_family": self.motion_family,
            "frames": self.frames.to_json(),
            "methods": {
                method: {key: tally.to_json() for key, tally in tallies.items()}
                for method, tallies in self.methods.items()
            },
            "provenance": dict(self.provenance),
            "warnings": list(self.warnings),
            "code": self.code,
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> RecordingMetrics:
        """Read what `to_json` wrote."""
        return RecordingMetrics(
            record["recording"],
            record["scene"],
            record["motion_family"],
            FrameSelection.from_json(record["frames"]),
            {
                method: {key: Tally.from_json(key, tally) for key, tally in tallies.items()}
                for method, tallies in record["methods"].items()
            },
            record["provenance"],
            tuple(record["warnings"]),
            record["code"],
        )

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(path, self.to_json())


def evaluate_recording(
    tracks: Mapping[str, BodyTrack],
    fits: Mapping[str, FittedSequence],
    observations: SequenceObservations,
    scene: SceneScan,
    truth: SyntheticTruth | None,
    truth_track: BodyTrack | None,
    settings: MetricSettings,
    anatomy: BodyAnatomy | None = None,
) -> RecordingMetrics:
    """Measure every method over the same frames.

    Args:
        tracks: bodies of each method on the common topology.
        fits: the same methods' fits; read for window ids and predicted contacts, may lack some.
        observations: what the camera saw; its intrinsics, pose and segments are used.
        scene: the room's signed distance grid.
        truth: synthetic truth, or None on real data.
        truth_track: true bodies on the common topology, with `truth`.
        settings: named options.
        anatomy: joint regressor and parts of the topology; needed with truth.

    Raises:
        ValueError: truth without its track or the anatomy.
        DataInvalid: lengths or frame names disagree.
    """
    rows = dict(tracks)
    if truth is not None:
        if truth_track is None or anatomy is None:
            raise ValueError("errors against truth need truth_track and anatomy")
        rows[TRUTH] = truth_track
    selection, selected = select_frames(rows, observations, truth)
    job = _Job(observations, scene, selected, settings, truth, truth_track, anatomy)
    methods = {name: job.measure(track, fits.get(name)) for name, track in rows.items()}
    warnings = _warnings(methods, selection, observations, settings)
    return RecordingMetrics(
        observations.recording,
        observations.scene,
        truth.motion_family if truth is not None else None,
        selection,
        methods,
        _provenance(observations, scene, selection, selected, settings, truth, anatomy),
        warnings,
    )


class _Job:
    """What all methods of one recording share."""

    def __init__(
        self,
        observations: SequenceObservations,
        scene: SceneScan,
        selected: Bool[np.ndarray, " frames"],
        settings: MetricSettings,
        truth: SyntheticTruth | None,
        truth_track: BodyTrack | None,
        anatomy: BodyAnatomy | None,
    ) -> None:
        self.observations, self.selected, self.settings = observations, selected, settings
        self.truth, self.truth_track, self.anatomy = truth, truth_track, anatomy
        self.sdf = SdfGrid.from_scene(scene)
        self.floor = observations.floor_camera if truth is None else truth.floor_camera
        self.subsets: FrameSubsets | None = None
        if truth is not None:
            self.subsets = frame_subsets(
                truth.joint_hidden, selected, settings.visible_below, settings.occluded_above
            )

    def measure(self, track: BodyTrack, fit: FittedSequence | None) -> dict[str, Tally]:
        """Every metric of one method."""
        tallies = self._scene(track)
        tallies |= self._image(track)
        tallies |= by_key([self._scan(track)])
        tallies |= self._motion(track, fit)
        return tallies | self._against_truth(track, fit)

    def _scene(self, track: BodyTrack) -> dict[str, Tally]:
        """In pieces, so that a recording of thousands of frames fits in memory; sums stay exact."""
        frames = np.flatnonzero(self.selected)
        pieces = [
            frames[start : start + _FRAMES_AT_ONCE] for start in range(0, len(frames), _FRAMES_AT_ONCE)
        ]
        tallies = [
            penetration(
                signed_distances(
                    track.vertices_camera[piece], self.observations.T_world_from_camera, self.sdf
                )
            )
            for piece in pieces or [frames]
        ]
        return {key: pool(piece[key] for piece in tallies) for key in tallies[0]}

    def _image(self, track: BodyTrack) -> dict[str, Tally]:
        joints = track.keypoint_joints_camera[self.selected]
        confidence = self.observations.keypoints_confidence[self.selected, :25]
        tallies = reprojection.reprojection(
            joints,
            self.observations.keypoints_px[self.selected, :25],
            confidence,
            self.observations.K,
            self.settings.joint_indices,
            self.settings.confidence_threshold,
        )
        if self.truth_track is None:
            return tallies
        return tallies | reprojection.reprojection_to_truth(
            joints,
            self.truth_track.keypoint_joints_camera[self.selected],
            confidence,
            self.observations.K,
            self.observations.image_size_px,
            self.settings.joint_indices,
            self.settings.confidence_threshold,
        )

    def _scan(self, track: BodyTrack) -> Tally:
        """Mean distance of the person's depth points to the nearest body vertex (one way)."""
        total, count, without = 0.0, 0, 0
        frames = np.flatnonzero(self.selected)[:: self.settings.scan_frame_step]
        for frame in frames:
            points = self.observations.points_camera[frame]
            points = points[: min(int(self.observations.num_points[frame]), len(points))]
            if len(points) == 0:
                without += 1
                continue
            distance = plausibility.one_way_chamfer(points, track.vertices_camera[frame])
            total, count = total + float(distance.sum()), count + len(distance)
        return Tally("scan_distance_v1", total, count, {"no_depth_points": without} if without else {})

    def _motion(self, track: BodyTrack, fit: FittedSequence | None) -> dict[str, Tally]:
        joints, rate = track.joints_camera, self.observations.frame_rate_hz
        chain = (self.selected, self.observations.segment_id)
        tallies = plausibility.acceleration(joints, *chain, rate)
        tallies |= plausibility.floor_penetration(joints[self.selected], self.floor)
        tallies |= by_key(
            [
                plausibility.jitter(joints, *chain, rate),
                plausibility.skating_ratio(joints, self.floor, *chain, rate),
            ]
        )
        if fit is not None:
            tallies |= seam_jump(joints, fit.window_id, *chain)
        return tallies

    def _against_truth(self, track: BodyTrack, fit: FittedSequence | None) -> dict[str, Tally]:
        truth, truth_track, subsets = self.truth, self.truth_track, self.subsets
        if truth is None or truth_track is None or subsets is None or self.anatomy is None:
            return {}
        segment_id, rate = self.observations.segment_id, self.observations.frame_rate_hz
        tallies = truth_errors(track, truth_track, subsets, self.anatomy)
        tallies |= acceleration_error(track, truth_track, subsets, segment_id, rate)
        tallies |= plausibility.planted_slide(
            track.joints_camera,
            track.keypoint_joints_camera,
            truth.foot_contact,
            self.floor,
            self.selected,
            segment_id,
            rate,
        )
        if fit is not None and fit.contacts is not None:
            accuracy = plausibility.contact_accuracy(
                fit.contacts, truth_track.joints_camera, self.floor, self.selected, segment_id
            )
            tallies |= by_key([accuracy])
        return tallies


def _warnings(
    methods: Mapping[str, Mapping[str, Tally]],
    selection: FrameSelection,
    observations: SequenceObservations,
    settings: MetricSettings,
) -> tuple[str, ...]:
    warnings = []
    for method, tallies in methods.items():
        pooled = tallies["reproj_pooled_v1"]
        if reprojection.warn_if_mirrored(method, observations.recording, pooled, settings.smell_test_px):
            warnings.append(f"{method}: reprojection {pooled.value:.0f} px; keypoints mirrored?")
        share = selection.valid_share(method)
        if method != TRUTH and share < settings.min_valid_share:
            warnings.append(
                f"{method}: only {100 * share:.1f} % of the {selection.num_person_seen} frames with "
                f"the person seen are valid (demanded: {100 * settings.min_valid_share:.0f} %)"
            )
    if not selection.names:
        warnings.append("no frame is valid in every method; all values are empty")
    return tuple(warnings)


def _provenance(
    observations: SequenceObservations,
    scene: SceneScan,
    selection: FrameSelection,
    selected: Bool[np.ndarray, " frames"],
    settings: MetricSettings,
    truth: SyntheticTruth | None,
    anatomy: BodyAnatomy | None,
) -> dict[str, str]:
    return {
        "frames_hash": selection.content_hash,
        "keypoint_source": settings.keypoint_source,
        "keypoints_hash": array_hash(
            observations.keypoints_px[selected, :25], observations.keypoints_confidence[selected, :25]
        ),
        "topology": TOPOLOGY,
        "bodies": anatomy.source if anatomy is not None else "not named",
        "sdf_source": scene.name,
        "sdf_hash": array_hash(scene.sdf_m, scene.sdf_min_world, scene.sdf_max_world),
        "sdf_convention": SDF_CONVENTION,
        "confidence_threshold": f"> {settings.confidence_threshold:g}",
        "joint_set": settings.joint_set,
        "projection": PROJECTION,
        "frame_rate_hz": f"{observations.frame_rate_hz:g}",
        "floor_source": "scene scan" if truth is None else "truth",
        "frame_subsets": (
            f"visible < {settings.visible_below:g}, occluded > {settings.occluded_above:g} of 22 joints"
        ),
        "scan_frame_step": str(settings.scan_frame_step),
    }


def array_hash(*arrays: Float[np.ndarray, "..."]) -> str:
    """SHA-256 over shapes and values, float32."""
    digest = sha256()
    for array in arrays:
        values = np.ascontiguousarray(array, dtype=np.float32)
        digest.update(str(values.shape).encode())
        digest.update(values.data if values.size else b"")
    return digest.hexdigest()

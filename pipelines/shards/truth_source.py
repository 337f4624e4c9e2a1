"""Recordings of the synthetic generator, with their true bodies, as a source of samples."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, UInt8

from pipelines.artifacts import code_version, hash_content, hash_file
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.datasets.layout import FEMALE_SUBJECTS
from pipelines.datasets.scenes import ScanMesh
from pipelines.errors import FittingFailed
from pipelines.records import FRAME_OK
from pipelines.shards.scene_cloud import scene_cloud
from pipelines.shards.schema import ShardKind, ShardScene
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.smplh_from_smplx import smplh_from_smplx
from pipelines.shards.source import Candidate, RecordingRefused, SourceRecording, SourceScene
from pipelines.shards.splits import Membership
from pipelines.synthetic.actor import PosedBody
from pipelines.synthetic.appearance import dress
from pipelines.synthetic.filming import RigRays, film, set_stage
from pipelines.synthetic.motions import HELD_OUT_FAMILIES, TRAINING_FAMILIES
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.scan import scan_room
from pipelines.synthetic.scenery import Scenery, prepare, stream
from pipelines.synthetic.sensor import kinect_rig

_log = logging.getLogger(__name__)

_WOMEN: Final = tuple(sorted(FEMALE_SUBJECTS))
_MAN: Final = 34
"""Any number that PROX does not list as a woman's; bodies differ by the seed."""
_NEXT_DRAW: Final = 1_000_000
"""Added to the seed of a recording that is drawn again; far beyond the number of recordings."""
_ROOMS_KEPT: Final = 32
"""About 15 MB each."""
_GENERATOR: Final = ("pipelines/synthetic", "pipelines/bodies", "pipelines/geometry")


@dataclass(frozen=True, slots=True)
class TruthRecording:
    """One recording to be made up."""

    settings: SyntheticSettings
    """With this recording alone; the seed is the person's."""
    subject: str

    @property
    def spec(self) -> RecordingSpec:
        """What is recorded."""
        return self.settings.recordings[0]

    def drawn_again(self) -> TruthRecording:
        """The same person, room name and kind of motion, otherwise anew."""
        spec = self.spec.model_copy(update={"seed": self.spec.seed + _NEXT_DRAW})
        return replace(self, settings=self.settings.model_copy(update={"recordings": (spec,)}))


@dataclass(frozen=True)
class TruthSource:
    """True bodies in made-up rooms."""

    settings: ShardsSettings
    kind: ShardKind = "truth"
    code: tuple[str, ...] = (
        "pipelines/synthetic",
        "pipelines/shards/truth_source",
        "pipelines/shards/smplh_from_smplx",
    )

    @cached_property
    def files(self) -> BodyFiles:
        """Always the stand-in, whose files everybody has."""
        return resolve_body_files(None)

    @cached_property
    def _kept(self) -> dict[str, tuple[TruthRecording, Scenery]]:
        """Rooms whose cloud was asked for and whose samples will be: made once where memory allows."""
        return {}

    @cached_property
    def recordings(self) -> dict[str, TruthRecording]:
        """By name."""
        return {recording.spec.name: recording for recording in truth_recordings(self.settings)}

    def candidates(self) -> tuple[Candidate, ...]:
        """Every recording; which frames show the person is not known before they are made."""
        return tuple(self.candidate(name) for name in sorted(self.recordings))

    def candidate(self, name: str) -> Candidate:
        """One recording, all of its frames."""
        made = self.recordings[name]
        frames, stride = self.settings.truth.num_frames, self.settings.stride
        rows = tuple(range(0, frames, stride))
        left_out = {"frame_stride": frames - len(rows)} if len(rows) < frames else {}
        return Candidate(Membership(name, made.spec.scene, (made.subject,)), frames, rows, left_out)

    def recording(self, name: str) -> SourceRecording:
        """Bodies of every frame; a frame's image is rendered when asked for.

        Raises:
            RecordingRefused: the generator finds no room for this motion.
        """
        made, scenery = self._kept.pop(name) if name in self._kept else self._draw(name)
        truth, limits = scenery.truth, self.settings.truth
        converted = smplh_from_smplx(self.files, truth.gender, truth.parameters)
        hidden = truth.joint_hidden.mean(axis=1)
        reasons = np.where(
            hidden > limits.max_hidden_share,
            "hidden",
            np.where(1e3 * converted.v2v_m > limits.max_conversion_mm, "conversion", ""),
        )
        camera = kinect_rig().color
        return SourceRecording(
            recording=name,
            scene=made.spec.scene,
            subject=made.subject,
            gender=truth.gender,
            K=np.asarray(camera.K, np.float64),
            image_size_px=(camera.width_px, camera.height_px),
            T_world_from_camera=np.asarray(truth.T_world_from_camera, np.float64),
            frame_names=truth.frame_names,
            bodies=converted.parameters,
            status=tuple(FRAME_OK if seen else "no_person" for seen in truth.person_present),
            expected_error_mm=(1e3 * converted.v2v_m).astype(np.float32),
            weight=np.ones(len(reasons), np.float32),
            reject_reason=tuple(reasons.tolist()),
            image=_renderer(made, scenery, self.settings.stride),
            provenance=json.dumps(self._provenance(made), sort_keys=True),
        )

    def scene(self, recording: str) -> SourceScene:
        """Cloud of the scan of the made-up room; no distance grid is made.

        Raises:
            RecordingRefused: the generator finds no room for this motion.
        """
        made, scenery = self._draw(recording)
        if len(self._kept) < _ROOMS_KEPT:
            self._kept[recording] = made, scenery
        rng = stream(made.settings, made.spec, "scan")
        vertices, faces, _ = scan_room(scenery.room, made.settings.scan_edge_m, rng)
        sample = self.settings.sample
        points = scene_cloud(ScanMesh(vertices.astype(np.float64), faces, None), sample.pitch_m)
        stored = ShardScene(
            made.spec.scene, points.astype(np.float32), np.float32(sample.pitch_m), "", ""
        )
        low, high = points.min(axis=0), points.max(axis=0)
        return SourceScene(stored, low - sample.scene_margin_m, high + sample.scene_margin_m)

    def category_of_vertex(self) -> Int[np.ndarray, "6890"]:
        """Parts of the stand-in."""
        return contact_labels_smplh(self.files)

    def inputs(self, recording: str) -> dict[str, str]:
        """What the recording is made up from."""
        made, limits = self.recordings[recording], self.settings.truth
        return {
            "recording": made.settings.content_hash(),
            "limits": f"{limits.max_hidden_share} {limits.max_conversion_mm} {limits.max_draws}",
            "SMPL-X": _hash(self.files, made),
            "SMPL+H": hash_file(self.files.smplh(made.spec.gender)),
            "contact parts": hash_content(self.files.segments),
        }

    def _draw(self, name: str) -> tuple[TruthRecording, Scenery]:
        """The recording with the first of its seeds whose furniture does not cut into the body."""
        made = self.recordings[name]
        for _ in range(self.settings.truth.max_draws):
            try:
                return made, self._shown(prepare(made.settings, made.spec, self.files))
            except FittingFailed as error:
                _log.info("%s, seed %d: %s; drawn again", name, made.spec.seed, error.what)
                made = made.drawn_again()
        raise RecordingRefused(
            f"no room was found for the motion in {self.settings.truth.max_draws} draws",
            where=f"{name}, {made.spec.family}",
            fix="take other families, or raise truth.max_draws",
        )

    def _shown(self, scenery: Scenery) -> Scenery:
        """The same without the bodies of frames that are not taken, which are most of its memory."""
        every = slice(None, None, self.settings.stride)
        posed = scenery.posed_camera
        return replace(
            scenery, posed_camera=PosedBody(posed.vertices[every].copy(), posed.joints[every].copy())
        )

    def _provenance(self, made: TruthRecording) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "family": made.spec.family,
            "seed": made.settings.seed,
            "generator_settings": made.settings.content_hash(),
            "generator_code": code_version(*_GENERATOR),
            "SMPL-X": _hash(self.files, made),
            "bodies": "stand-in",
            "sample_settings": self.settings.sample.content_hash(),
        }


def truth_recordings(settings: ShardsSettings) -> tuple[TruthRecording, ...]:
    """The recordings of a set: rooms of their own; people, motions and occlusion in turn.

    A person is a seed of the generator, which decides the body shape.
    """
    truth = settings.truth
    families = truth.families or (*HELD_OUT_FAMILIES, *TRAINING_FAMILIES)
    made = []
    for number in range(truth.scenes):
        person = number % truth.subjects
        # One on in each round, or men would do every other thing and women the rest.
        turn = number + number // truth.subjects
        spec = RecordingSpec(
            scene=f"{truth.name.replace('_', '').replace('-', '')}{number:04d}",
            subject=_WOMEN[person // 2 % len(_WOMEN)] if person % 2 else _MAN,
            family=families[turn % len(families)],
            num_frames=truth.num_frames,
            seed=truth.seed + number,
            occluded_frames=truth.occluded_shares[turn % len(truth.occluded_shares)],
            clutter=truth.clutter,
        )
        seed = truth.seed + person
        tree = SyntheticSettings(preset=truth.name, seed=seed, recordings=(spec,))
        made.append(TruthRecording(tree, f"{spec.subject:05d}-{seed}"))
    return tuple(made)


def _renderer(
    made: TruthRecording, scenery: Scenery, stride: int
) -> Callable[[int], UInt8[np.ndarray, "height width 3"]]:
    """Renders a frame as the generator films it for a PROX tree, without that tree's own JPEG."""
    stage = lru_cache(1)(
        lambda: set_stage(scenery.room, scenery.mesh, _rays(), stream(made.settings, made.spec, "light"))
    )
    colors = dress(scenery.body, stream(made.settings, made.spec, "clothes"))
    faces = scenery.body.faces.numpy()

    def render(row: int) -> UInt8[np.ndarray, "height width 3"]:
        body: Float[np.ndarray, "vertices 3"] = scenery.posed_camera.vertices[row // stride].astype(
            np.float64
        )
        rng = stream(made.settings, made.spec, f"frame {row}")
        return film(stage(), [body], faces, [colors], rng).color

    return render


@lru_cache(1)
def _rays() -> RigRays:
    return RigRays.of(kinect_rig())


def _hash(files: BodyFiles, made: TruthRecording) -> str:
    return hash_file(files.smplx(made.spec.gender))

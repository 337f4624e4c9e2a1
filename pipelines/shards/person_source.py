"""People of another data set (RICH, EgoBody, PROX quantitative) as a source of samples.

Their own SMPL-X bodies are stored as SMPL+H, like the generator's true bodies; the shards are of the kind
`dataset`. A sample's labels follow from body and scan as everywhere; RICH's own lie beside them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int, Int32, UInt8

from pipelines.artifacts import hash_content, hash_file, hash_listing
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.people import (
    PersonEntry,
    people_of_egobody,
    people_of_prox,
    people_of_rich,
)
from pipelines.other_datasets.prox_quantitative import FRAME_RATE_HZ, ProxQuantitative
from pipelines.other_datasets.records import PersonRecording
from pipelines.other_datasets.rich.dataset import RichDataset
from pipelines.records import FRAME_OK, SmplxParameters
from pipelines.shards.scene_cloud import scene_cloud
from pipelines.shards.schema import ShardKind, ShardScene
from pipelines.shards.settings import DataSetSettings, ShardsSettings
from pipelines.shards.smplh_from_smplx import smplh_from_smplx
from pipelines.shards.source import Candidate, SourceRecording, SourceScene
from pipelines.shards.splits import Membership, Split

_SIDES: Final[dict[str, Split]] = {
    "train": "train",
    "val": "val",
    "test": "test",
    "quantitative": "test",
}
"""What a data set calls its parts -> side; PROX quantitative is made to be measured on."""
_KEPT: Final = 4
"""People kept in memory."""


@dataclass(frozen=True)
class PersonSource:
    """Everyone of a list, each one person before one camera."""

    settings: ShardsSettings
    files: BodyFiles
    people: Iterable[PersonEntry]
    kind: ShardKind = "dataset"
    code: tuple[str, ...] = (
        "pipelines/datasets",
        "pipelines/other_datasets",
        "pipelines/shards/person_source",
        "pipelines/shards/smplh_from_smplx",
    )

    @cached_property
    def entries(self) -> dict[str, PersonEntry]:
        """By name.

        Raises:
            DataInvalid: two people have one name.
        """
        listed = list(self.people)
        entries = {entry.name: entry for entry in listed}
        if len(entries) != len(listed):
            raise DataInvalid("people share a name", found=f"{len(listed)} people, {len(entries)} names")
        return dict(sorted(entries.items()))

    def candidates(self) -> tuple[Candidate, ...]:
        """Everyone; frames without a body or an image are left out, and counted."""
        return tuple(self.candidate(name) for name in self.entries)

    def recording(self, name: str) -> SourceRecording:
        """Bodies of every frame as SMPL+H; images are read when asked for."""
        entry, person = self.entries[name], self._read(name)
        bodies, view = person.bodies, person.view
        if not isinstance(bodies.parameters, SmplxParameters):
            raise DataInvalid(f"bodies of {name} are not SMPL-X", found=type(bodies.parameters).__name__)
        converted = smplh_from_smplx(self.files, bodies.gender, bodies.parameters)
        error_mm = 1e3 * converted.v2v_m
        limit_mm = self.settings.data.max_conversion_mm

        def image(row: int) -> UInt8[np.ndarray, "height width 3"]:
            return entry.image(bodies.frame_names[row])

        return SourceRecording(
            recording=name,
            scene=person.scene,
            subject=person.subject,
            gender=bodies.gender,
            K=np.asarray(view.K, np.float64),
            image_size_px=view.image_size_px,
            T_world_from_camera=np.asarray(view.T_world_from_camera, np.float64),
            frame_names=bodies.frame_names,
            bodies=converted.parameters,
            status=bodies.status,
            expected_error_mm=error_mm.astype(np.float32),
            weight=np.ones(len(error_mm), np.float32),
            reject_reason=tuple(np.where(error_mm > limit_mm, "conversion", "").tolist()),
            image=image,
            provenance=json.dumps(self._provenance(person), sort_keys=True),
            own_contact=_own_contact(person),
        )

    def scene(self, recording: str) -> SourceScene:
        """Cloud of the scan; these data sets bring no distance grid."""
        sample = self.settings.sample
        points = scene_cloud(self.entries[recording].mesh(), sample.pitch_m)
        scene = self._read(recording).scene
        stored = ShardScene(scene, points.astype(np.float32), np.float32(sample.pitch_m), "", "")
        low, high = points.min(axis=0), points.max(axis=0)
        return SourceScene(stored, low - sample.scene_margin_m, high + sample.scene_margin_m)

    def category_of_vertex(self) -> Int[np.ndarray, "6890"]:
        """Parts of the body files."""
        return contact_labels_smplh(self.files)

    def inputs(self, recording: str) -> dict[str, str]:
        """Hashes of the files and settings that bodies, camera and scan come from.

        Images count by the bodies' frames only.
        """
        gender = self._read(recording).bodies.gender
        found = {f"input {row}": _hash(path) for row, path in enumerate(self.entries[recording].inputs)}
        models = {"SMPL-X": self.files.smplx(gender), "SMPL+H": self.files.smplh(gender)}
        return {
            **found,
            **{name: hash_file(path) for name, path in models.items()},
            "contact parts": hash_content(self.files.segments),
            "reader": self._reader_settings.content_hash(),
        }

    def candidate(self, name: str) -> Candidate:
        """One person before one camera."""
        person = self._read(name)
        status, stride = person.bodies.status, self.settings.stride
        rows: list[int] = []
        left_out: Counter[str] = Counter()
        for row, reason in enumerate(status):
            if row % stride:
                left_out["frame_stride"] += 1
            elif reason != FRAME_OK:
                left_out[reason] += 1
            elif not person.has_image[row]:
                left_out["image_missing"] += 1
            else:
                rows.append(row)
        return Candidate(
            member=Membership(name, person.scene, (person.subject,), _SIDES.get(person.split)),
            num_frames=len(status),
            rows=tuple(rows),
            left_out=dict(sorted(left_out.items())),
        )

    def _provenance(self, person: PersonRecording) -> dict[str, str]:
        return {
            "kind": self.kind,
            "data_set": person.dataset,
            "data_set_split": person.split,
            "bodies": "stand-in" if self.files.is_standin else "licensed",
            "sample_settings": self.settings.sample.content_hash(),
        }

    @property
    def _reader_settings(self) -> DataSetSettings:
        """What decides how somebody is read, whoever else is taken."""
        return self.settings.data.portable().model_copy(update={"people": ()})

    def _read(self, name: str) -> PersonRecording:
        return self._reader(name)

    @cached_property
    def _reader(self) -> Callable[[str], PersonRecording]:
        return lru_cache(_KEPT)(lambda name: self.entries[name].read())


def open_person_source(settings: ShardsSettings) -> PersonSource:
    """People of the data set that `source` names.

    Raises:
        SettingsInvalid: its root is not set.
        DataMissing: not a tree of it, or a pattern of `data.people` matches nobody.
    """
    data, source = settings.data, settings.source
    root = getattr(data, source).root
    if root is None:
        raise SettingsInvalid(
            f"source={source} needs the data set's folder", fix=f"set data.{source}.root=<folder>"
        )
    files = resolve_body_files(data.body_models)
    people: Iterable[PersonEntry]
    if source == "rich":
        people = people_of_rich(RichDataset(root, files, data.rich))
    elif source == "egobody":
        people = people_of_egobody(EgobodyDataset(root, files, data.egobody))
    else:
        half = {"split": "quantitative", "frame_rate_hz": FRAME_RATE_HZ}
        reader = data.prox_quantitative.model_copy(update=half)
        people = people_of_prox(ProxQuantitative(root, files, reader))
    return PersonSource(settings, files, _chosen(list(people), data.people, root))


def _chosen(people: list[PersonEntry], patterns: tuple[str, ...], root: Path) -> list[PersonEntry]:
    idle = [p for p in patterns if not any(fnmatchcase(entry.name, p) for entry in people)]
    if idle:
        raise DataMissing(
            f"nobody matches {', '.join(idle)}",
            where=root,
            found=", ".join(entry.name for entry in people[:5]) + (", ..." if len(people) > 5 else ""),
            fix="correct data.people",
        )
    return [e for e in people if not patterns or any(fnmatchcase(e.name, p) for p in patterns)]


def _own_contact(person: PersonRecording) -> dict[int, Int32[np.ndarray, " labelled"]]:
    if person.contact is None or person.has_contact is None:
        return {}
    labelled = np.flatnonzero(person.has_contact).tolist()
    return {row: np.flatnonzero(person.contact[row]).astype(np.int32) for row in labelled}


def _hash(path: Path) -> str:
    return hash_listing(path) if path.is_dir() else hash_file(path)

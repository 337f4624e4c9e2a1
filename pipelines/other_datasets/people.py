"""Everyone in a data set as one flat list: what shards and surveys go through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pipelines.datasets.scenes import ScanMesh, read_scan_mesh
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.other_datasets.records import PersonRecording
from pipelines.other_datasets.rich.dataset import RichDataset


@dataclass(frozen=True, slots=True, eq=False)
class PersonEntry:
    """One person before one camera, not read yet."""

    name: str
    """Unique in the data set, without `/`."""
    read: Callable[[], PersonRecording]
    image: Callable[[str], UInt8[np.ndarray, "height width 3"]]
    """The colour image of a frame, by its name, as it belongs to the view's K.

    Raises DataMissing or DataInvalid where it is lost or broken.
    """
    mesh: Callable[[], ScanMesh]
    """The scan, world frame."""
    inputs: tuple[Path, ...]
    """Files and folders that bodies, camera and scan come from."""


def people_of_rich(data: RichDataset, split: str | None = None) -> Iterator[PersonEntry]:
    """Every subject of every sequence before every calibrated camera."""
    for sequence in data.sequences(split):
        scan = data.scan(sequence)
        folder = Path(data.split(sequence)) / sequence
        for subject in data.subjects(sequence):
            for view in data.views(sequence):
                yield PersonEntry(
                    name=f"{sequence}-{subject}-{view}",
                    read=partial(data.person, sequence, subject, view),
                    image=partial(data.color_image, sequence, view),
                    mesh=partial(data.scene_mesh, sequence),
                    inputs=(
                        data.root / "bodies" / folder,
                        scan,
                        scan.parent / "calibration",
                        data.root / "multicam2world",
                    ),
                )


def people_of_egobody(data: EgobodyDataset, split: str | None = None) -> Iterator[PersonEntry]:
    """Both people of every recording before every Kinect."""
    for recording in data.recordings(split):
        for body in (0, 1):
            for view in data.views(recording):
                yield PersonEntry(
                    name=f"{recording}-body_idx_{body}-{view}",
                    read=partial(data.person, recording, body, view),
                    image=partial(data.color_image, recording, view),
                    mesh=partial(data.scene_mesh, recording),
                    inputs=(
                        data.fits(recording, body),
                        data.root / "calibrations" / recording,
                        data.root / "kinect_cam_params",
                        data.root / "data_info_release.csv",
                        data.scan(recording),
                    ),
                )


def people_of_prox(data: ProxQuantitative) -> Iterator[PersonEntry]:
    """The one man of every recording."""
    layout = data.prox.layout
    for recording in data.recordings():
        scan = layout.scan(data.prox.scene_name(recording))
        yield PersonEntry(
            name=recording,
            read=partial(data.person, recording),
            image=partial(data.prox.color_image, recording),
            mesh=partial(read_scan_mesh, scan),
            inputs=(
                layout.base / "fittings" / "mosh" / recording,
                layout.base / "vicon2scene.json",
                layout.base / "calibration",
                layout.base / "cam2world",
                scan,
            ),
        )

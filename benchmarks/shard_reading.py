"""Reading samples from shards beside loose PNG and pickle files, and beside a memory map.

All yield the same: crop decoded, camera, body parameters, labels of vertices and of scene points. The loose
files hold what SA-HMR's loader reads, the body already posed; they are labelled by the k-d tree of
`pipelines.contact`. The memory map holds the bytes of the shard's samples one after the other, everything
but the crop as plain numbers, and an index in memory. Files are in the page cache; CPU time of one thread.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from benchmarks.contact_labels import PITCH_M, RADIUS_M, draw_body, draw_room
from benchmarks.table import BenchmarkTable, Cell
from pipelines.contact.labels import label_points, label_vertices
from pipelines.shards.collection import ShardCollection
from pipelines.shards.crop import decode_crop, encode_crop
from pipelines.shards.reader import ShardReader
from pipelines.shards.sampler import SampleKey
from pipelines.shards.schema import ShardSample, ShardScene
from pipelines.shards.writer import ShardSource, shard_path, write_shard
from sahmr.data.augment import AugmentationSettings
from sahmr.data.dataset import TrainingSamples

DESCRIPTION = "Samples per second from shards, loose files and a memory map"
NUM_VERTICES = 6890
MARGIN_PX = 48
JPEG_QUALITY = 95
NUMBERS = ("box_px", "K", "T_world_from_camera", "betas", "global_orient", "body_pose", "transl")
LABELS = ("vertex_category", "contact_rows", "contact_category")

Read = Callable[[int], Any]


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Options of this benchmark."""
    parser.add_argument("--shard-samples", type=int, default=600, help="samples in the shard")


@dataclass(frozen=True, slots=True)
class DrawnData:
    """The same samples in the three ways."""

    folder: Path
    scene: ShardScene
    vertices: Float[np.ndarray, "6890 3"]
    category: Int[np.ndarray, "6890"]


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Read every sample once in random order, three times over; the fastest round counts."""
    cv2.setNumThreads(1)
    order = np.random.default_rng(0).permutation(options.shard_samples)
    with tempfile.TemporaryDirectory() as folder:
        data = _draw(Path(folder), options.shard_samples)
        ways = {
            "PNG, pickle, k-d tree": _loose_files(data),
            "memory map, decoded": _memory_map(data, options.shard_samples),
            "shard, decoded": _shard(data),
            "shard as training sample": _training_samples(data),
        }
        took = {name: _ms_per_sample(read, order) for name, read in ways.items()}
        size = shard_path(data.folder, "drawn").stat().st_size
    ours, loose, mapped = (took[name] for name in ("shard, decoded", *list(ways)[:2]))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, ms, 1000 / ms, ms / ours) for name, ms in took.items()
    )
    return BenchmarkTable(
        name="shard_reading",
        title="Random reads, CPU of one thread",
        columns=("from", "ms a sample", "samples a second", "time over the shard's"),
        rows=rows,
        notes=(
            f"Shards read {loose / ours:.1f} times as many samples a second as loose files (wanted: 5), "
            f"{100 * mapped / ours:.0f} % of the memory map (wanted: 70).",
            "The last row also varies the crop and cuts the scene's cloud to what the crop sees.",
        ),
        conditions={
            "samples": options.shard_samples,
            "crop_px": 224 + 2 * MARGIN_PX,
            "scene_points": len(data.scene.points_world),
            "shard_bytes_per_sample": size / options.shard_samples,
            "times_loose_files": loose / ours,
            "share_of_memory_map": mapped / ours,
        },
    )


def _draw(folder: Path, num_samples: int) -> DrawnData:
    """Write a shard of one drawn body in a drawn room, and one PNG and pickle per sample."""
    parts, part_category = draw_body()
    rest = np.random.default_rng(1).normal((0.2, 0, 0.9), 0.2, (NUM_VERTICES - len(parts), 3))
    vertices = np.concatenate([parts, rest])
    category = np.concatenate([part_category, np.zeros(len(rest), np.int64)])
    scene = ShardScene("Room", draw_room(6).astype(np.float32), np.float32(PITCH_M), "", "")
    data = DrawnData(folder, scene, vertices, category)
    source = ShardSource("drawn", "truth", "benchmark", {})
    write_shard(folder, source, lambda: [scene], lambda: _draw_samples(data, num_samples))
    return data


def _draw_samples(data: DrawnData, num_samples: int) -> Iterator[ShardSample]:
    of_point, of_vertex = _label(data, data.vertices)
    T_world_from_camera = np.array([[1.0, 0, 0, 0], [0, 0, 1, -3], [0, -1, 0, 1], [0, 0, 0, 1]])
    for row in range(num_samples):
        rng, crop = np.random.default_rng(row), _draw_crop(row)
        sample = ShardSample(
            sample_id=f"drawn/{row:06d}",
            recording="drawn",
            frame=f"{row:06d}",
            scene="Room",
            subject="00001",
            gender="neutral",
            crop_jpeg=encode_crop(crop, JPEG_QUALITY),
            box_px=np.array([700, 300, 1200, 800], np.float32),
            K=np.array([[1060.5, 0, 951.3], [0, 1060.4, 536.8], [0, 0, 1]]),
            T_world_from_camera=T_world_from_camera,
            betas=rng.standard_normal(16, np.float32),
            global_orient=rng.standard_normal(3, np.float32),
            body_pose=rng.standard_normal(63, np.float32),
            transl=rng.standard_normal(3, np.float32),
            vertex_category=of_vertex.astype(np.uint8),
            contact_rows=np.flatnonzero(of_point).astype(np.int32),
            contact_category=of_point[of_point > 0].astype(np.uint8),
            expected_error_mm=np.float32(30),
            weight=np.float32(1),
            reject_reason="",
            provenance="{}",
        )
        _write_loose(data, row, crop, sample)
        yield sample


def _draw_crop(row: int) -> UInt8[np.ndarray, "size size 3"]:
    """Noise of several scales; its JPEG is as large as that of a photograph."""
    rng, size = np.random.default_rng(row), 224 + 2 * MARGIN_PX
    image = np.full((size, size, 3), 128, np.float32)
    for cells, strength in ((4, 70), (16, 35), (64, 15), (160, 6)):
        noise = strength * rng.standard_normal((cells, cells, 3), np.float32)
        image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def _write_loose(
    data: DrawnData, row: int, crop: UInt8[np.ndarray, "size size 3"], sample: ShardSample
) -> None:
    cv2.imwrite(str(data.folder / f"{row}.png"), crop[..., ::-1])
    content = {name: getattr(sample, name) for name in NUMBERS} | {
        "vertices": data.vertices.astype(np.float32)
    }
    (data.folder / f"{row}.pkl").write_bytes(pickle.dumps(content))


def _label(
    data: DrawnData, vertices: Float[np.ndarray, "6890 3"]
) -> tuple[Int[np.ndarray, " points"], Int[np.ndarray, "6890"]]:
    able = data.category > 0
    of_point = label_points(data.scene.points_world, vertices[able], data.category[able], RADIUS_M)
    return of_point, label_vertices(vertices, data.category, data.scene.points_world, RADIUS_M)


def _loose_files(data: DrawnData) -> Read:
    def read(row: int) -> object:
        image = cv2.imread(str(data.folder / f"{row}.png"))
        content = pickle.loads((data.folder / f"{row}.pkl").read_bytes())  # noqa: S301 -- written above
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), content, _label(data, content["vertices"])

    return read


def _memory_map(data: DrawnData, num_samples: int) -> Read:
    path, bounds, layout = data.folder / "samples.bin", [], None
    with ShardReader(shard_path(data.folder, "drawn")) as reader, path.open("wb") as stream:
        for row in range(num_samples):
            sample, start = reader.sample(row), stream.tell()
            fields = {name: np.asarray(getattr(sample, name)) for name in (*NUMBERS, *LABELS)}
            layout = [(name, array.dtype, array.shape, array.nbytes) for name, array in fields.items()]
            stream.write(b"".join(array.tobytes() for array in fields.values()))
            bounds.append(
                (start, stream.tell(), stream.tell() + stream.write(sample.crop_jpeg.tobytes()))
            )
    content = np.memmap(path, np.uint8, "r")

    def read(row: int) -> object:
        at, crop, end = bounds[row]
        fields = {}
        for name, dtype, shape, size in layout or ():
            fields[name] = np.array(content[at : at + size]).view(dtype).reshape(shape)
            at += size
        image = cv2.imdecode(np.asarray(content[crop:end]), cv2.IMREAD_COLOR)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), fields

    return read


def _shard(data: DrawnData) -> Read:
    reader = ShardReader(shard_path(data.folder, "drawn"))

    def read(row: int) -> object:
        sample = reader.sample(row)
        return decode_crop(sample.crop_jpeg, sample.sample_id), sample

    return read


def _training_samples(data: DrawnData) -> Read:
    collection = ShardCollection([shard_path(data.folder, "drawn")])
    samples = TrainingSamples(collection, AugmentationSettings())
    return lambda row: samples[SampleKey(0, row)]


def _ms_per_sample(read: Read, order: Int[np.ndarray, " samples"]) -> float:
    fewest = float("inf")
    for _ in range(3):
        start = time.process_time()
        for row in order.tolist():
            read(row)
        fewest = min(fewest, time.process_time() - start)
    return 1000 * fewest / len(order)

"""The tutorial of docs/own-capture.md: example, init, doctor, a few frames of pseudo-gt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.track import pose_track, truth_track
from pipelines.capture.produce import init_capture
from pipelines.capture.scan import Scan, read_scan, without_dust
from pipelines.capture.settings import CaptureSettings
from pipelines.config import load_settings
from pipelines.fitting.result import read_fit
from pipelines.geometry.transforms import invert, transform_points
from pipelines.other_trees.capture import (
    SPECS,
    CaptureExampleSettings,
    moved_chair,
    on_chair,
    write_capture_example,
)
from pipelines.other_trees.capture_cameras import Kind
from pipelines.pseudo_gt.check import check_inputs
from pipelines.pseudo_gt.data import data_source
from pipelines.pseudo_gt.fit import fit_recording
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.synthetic.presets import SyntheticSettings
from pipelines.synthetic.scenery import prepare
from pipelines.synthetic.truth import read_truth

pytestmark = pytest.mark.slow
NUM_FRAMES = 24
FITTED = 8


def chair_overlap(root: Path, tree: Path) -> float:
    """Area shared by the faces found and the chair's, over the area of either."""
    files = resolve_body_files(None)
    spec = SPECS["azure"].model_copy(update={"num_frames": NUM_FRAMES})
    made = SyntheticSettings(preset="capture", recordings=(spec,))
    scenery = prepare(made, spec, files)
    scan: Scan
    scan, _ = without_dust(read_scan(root / "room.ply", 1.0), 0.005)
    heights = transform_points(invert(scenery.room.T_world_from_room), scan.face_centers)[:, 2]
    truly = on_chair(scan.face_centers, scenery.room, moved_chair(scenery)) & (heights > 0.02)
    found = np.load(tree / "qualitative" / "moved" / "Loft_faces.npy", allow_pickle=False)
    area = scan.face_areas
    return float(area[found & truly].sum() / area[found | truly].sum())


@pytest.mark.parametrize("kind", ["azure", "realsense"])
def test_a_capture_goes_all_the_way(kind: Kind, tmp_path: Path) -> None:
    root, tree = tmp_path / kind, tmp_path / "tree"
    files = resolve_body_files(None)
    example = CaptureExampleSettings(out=root, kind=kind, frames=NUM_FRAMES)
    yaml = write_capture_example(example, files)
    overrides = [f"folder={root}", f"out={tree}", "sdf_size=96"]
    report = init_capture(load_settings(CaptureSettings, yaml, overrides))
    assert report.ok, report.to_text()
    if kind == "azure":
        assert chair_overlap(root, tree) > 0.8
    else:
        assert any("mirrored" in finding.text for finding in report.findings)
    run = [f"prox.max_frames={FITTED}", f"out_dir={tmp_path / 'runs'}"]
    settings = load_settings(PseudoGtSettings, report.config, run)
    doctor = check_inputs(settings)
    assert doctor.ok, doctor.to_text()
    name = SPECS[kind].name
    fit_recording(settings, data_source(settings), name)
    truth = truth_track(read_truth(tmp_path / f"{kind}-truth", name), files)
    fitted = pose_track(
        read_fit(settings.run_dir / "recordings" / name / "fits" / "prox_humor.npz"), files
    )
    error = np.linalg.norm(fitted.vertices_camera - truth.vertices_camera[:FITTED], axis=-1)
    assert fitted.valid.all()
    assert np.median(error) < 0.15

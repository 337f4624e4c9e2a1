"""The whole report of a small run, and the page in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.artifacts import hash_file
from pipelines.config import load_settings
from pipelines.fitting.humor import rows_of
from pipelines.fitting.result import write_fit
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence
from pipelines.report.page import write_report
from pipelines.report.produce import report_recording
from pipelines.report.run import FinishedRun
from pipelines.report.settings import ReportSettings, ViewSettings
from pipelines.synthetic.truth import read_truth

pytestmark = pytest.mark.slow
SHIFTS_M = {"prox_style": 0.05, "vposer_t": 0.03, "humor": 0.02, "prox_humor": 0.02, "refined": 0.01}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> PseudoGtSettings:
    """The smallest synthetic tree."""
    out_dir = tmp_path_factory.mktemp("runs")
    run = load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={out_dir}"])
    data = data_source(run)
    (recording,) = list_recordings(run, data)
    prepare_recording(run, data, recording)
    return run


def measured(run: PseudoGtSettings, truth_root: Path | None) -> ReportSettings:
    """A run whose fits are the true bodies, moved: nothing needs to be optimised."""
    data = data_source(run)
    (recording,) = list_recordings(run, data)
    assert truth_root is not None
    truth = read_truth(truth_root, recording)
    job = RecordingJob(run, data, recording)
    frames = len(truth.frame_names)
    for row in ("prox_style", *rows_of(run.humor)):
        moved = truth.parameters.transl + np.array([SHIFTS_M[row], 0, 0])
        fit = FittedSequence(
            row,
            recording,
            truth.gender,
            truth.frame_names,
            replace(truth.parameters, transl=moved),
            ("",) * (frames - 1) + ("fit_failed",),
            np.arange(frames) // 6,
            truth.T_world_from_camera,
            truth.floor_camera,
            energies={"1.joints2d": np.array([3.0, 2.0]), "2.joints2d": np.array([1.0, 0.5])},
        )
        write_fit(job.fit_path(row), fit)
    measure_recording(run, data, recording)
    write_table(run, data, [recording])
    return ReportSettings(run=run.run_dir, view=ViewSettings(frame_step=2))


@pytest.fixture(scope="module")
def settings(known: PseudoGtSettings) -> ReportSettings:
    return measured(known, data_source(known).truth_root)


@pytest.fixture(scope="module")
def page(settings: ReportSettings) -> Path:
    return written(settings)


def written(settings: ReportSettings) -> Path:
    names = [path.name for path in (settings.run / "recordings").iterdir()]
    for name in names:
        report_recording(settings, name)
    return write_report(settings, names)


def test_the_page_tells_the_true_error_and_the_lost_frame(page: Path) -> None:
    text = page.read_text()
    assert "V2V 10.00 mm" in text
    assert "fit_failed" in text
    assert "published: PROX+HuMoR (RGBD)" in text
    assert page.stat().st_size < 30e6
    markdown = page.with_suffix(".md").read_text()
    assert "| published: PROX+HuMoR | 3.15" in markdown


def test_without_truth_the_page_speaks_of_image_and_depth(
    known: PseudoGtSettings, tmp_path: Path
) -> None:
    data = data_source(known)
    overrides = [f"prox.root={data.prox_root}", f"out_dir={tmp_path}", "prox.keypoints_frame=flipped"]
    run = load_settings(PseudoGtSettings, None, overrides)
    text = written(measured(run, data.truth_root)).read_text()
    assert "recordings of real data" in text
    assert (
        "V2V" not in text.partition('id="recordings"')[2].partition('<script type="application/json"')[0]
    )
    assert re.search("This data cannot tell: .*V2V, visible frames", text)
    assert "Worst stretch: frames" in text


def test_the_page_asks_for_nothing_from_outside(page: Path) -> None:
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page.read_text())
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_a_second_report_measures_nothing_and_is_the_same(settings: ReportSettings, page: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in settings.folder.rglob("*.npz")}
    first = hash_file(page)
    for path in before:
        report_recording(settings, path.parent.name)
    write_report(settings, [path.parent.name for path in before])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert hash_file(page) == first


def test_recordings_are_exported_for_rerun(settings: ReportSettings, page: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="pip install -e .[rerun]")
    shutil.copytree(settings.folder, tmp_path / "report")
    options = settings.model_copy(update={"rerun": True, "out_dir": tmp_path / "report"})
    (recording,) = FinishedRun.open(settings.run).recordings
    write_report(options, [recording])
    command = [
        sys.executable,
        "-m",
        "rerun_cli",
        "rrd",
        "print",
        tmp_path / "report" / f"{recording}.rrd",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    entities = set(re.findall(r" - (/\S+)", told))
    assert {"/world/scan", "/world/camera", "/world/camera/image"} <= entities
    assert {f"/world/bodies/{name}" for name in ("refined", "prox_style", "truth")} <= entities
    assert "/curves/v2v_mm/refined" in entities


def test_metrics_of_other_fits_are_told(settings: ReportSettings, page: Path) -> None:
    assert FinishedRun.open(settings.run).stale == ()
    (path,) = settings.run.glob("recordings/*/fits/humor.npz")
    content = path.read_bytes()
    path.write_bytes(path.with_name("refined.npz").read_bytes())
    try:
        assert FinishedRun.open(settings.run).stale == (path.parent.parent.name,)
    finally:
        path.write_bytes(content)


@pytest.fixture
def tab(page: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page in a browser, with everything it complained about or asked the network for."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install -e .[browser]")
    chromium = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport={"width": 1300, "height": 1000})
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        opened.on(
            "request",
            lambda r: (
                None if r.url.startswith(("file:", "data:", "blob:")) else complaints.append(r.url)
            ),
        )
        opened.goto(page.as_uri())
        opened.wait_for_selector("body[data-view-ready]", timeout=120_000)
        yield opened, complaints
        browser.close()


def picture_of(tab: Any) -> bytes:
    return tab.locator("#view-canvas").screenshot()


def test_the_3d_view_draws_turns_and_plays(tab: tuple[Any, list[str]]) -> None:
    opened, complaints = tab
    opened.locator("#view").scroll_into_view_if_needed()
    first = picture_of(opened)
    with_truth = opened.locator("#view-methods input")
    assert with_truth.count() == 3
    opened.locator("#view-scan").uncheck()
    without_scan = picture_of(opened)
    assert without_scan != first
    opened.locator("#view-scan").check()
    assert picture_of(opened) == first
    with_truth.nth(2).check()
    assert picture_of(opened) != first
    with_truth.nth(2).uncheck()
    box = opened.locator("#view-canvas").bounding_box()
    opened.mouse.move(box["x"] + 300, box["y"] + 200)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 420, box["y"] + 230)
    opened.mouse.up()
    assert picture_of(opened) != first
    opened.locator("#view-frame").fill("2")
    assert opened.locator("#view-time").inner_text().startswith("frame 4,")
    opened.locator("#view-play").click()
    shown = {2}
    for _ in range(100):  # the page forbids what `wait_for_function` does
        opened.wait_for_timeout(100)
        shown.add(opened.evaluate("window.reportView.state.frame"))
        if len(shown) > 1:
            break
    assert len(shown) > 1
    assert complaints == []


def test_every_picture_of_the_page_is_drawn(tab: tuple[Any, list[str]]) -> None:
    opened, _ = tab
    broken = opened.evaluate(
        "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"
    )
    assert broken == 0
    assert opened.evaluate("document.images.length") >= 6

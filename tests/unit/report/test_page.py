from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.config import settings_yaml
from pipelines.errors import BackendMissing, DataMissing
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.charts import _top, distribution_chart, timeline_chart
from pipelines.report.content import TextCell, TextRow, TextTable, data_uri, script_json
from pipelines.report.measures import FrameMeasures
from pipelines.report.page import page_templates
from pipelines.report.rerun_export import require_rerun
from pipelines.report.run import FinishedRun

EVIL = "<img src=x onerror=alert(1)>|&"


def context() -> dict[str, object]:
    table = TextTable(EVIL, (EVIL, "b"), (TextRow(EVIL, (TextCell(EVIL, EVIL),)),), EVIL)
    picture = {"source": data_uri(b"x", "image/png"), "text": EVIL}
    tables = (
        "headline",
        "targets",
        "recordings",
        "scenes",
        "statuses",
        "exclusions",
        "quality",
        "seams",
    )
    charts = ("headline_chart", "recordings_chart", "distribution_chart", "energy_chart")
    page = {
        "verdict": {"rank": 1, "recording": EVIL},
        "why": EVIL,
        "timeline": picture,
        "worst": [picture],
        "energies": picture,
    }
    return {
        **dict.fromkeys((*tables, "provenance", "markers"), table),
        **dict.fromkeys(charts, picture),
        **dict.fromkeys(("name", "kind", "bodies", "result", "settings_yaml", "report_yaml"), EVIL),
        "num_recordings": 1,
        "num_frames": 1,
        "has_truth": True,
        "in_view": 1,
        "view": None,
        "three": None,
        "more_tables": [table],
        "pages": [page],
        "summary": [EVIL],
        "warnings": [EVIL],
        "left_out": {EVIL: EVIL},
        "metrics_markdown": "",
    }


def test_nothing_in_the_page_can_become_markup() -> None:
    page = page_templates().get_template("report.html.j2").render(context())
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 20


def test_nothing_in_the_markdown_can_break_a_table_or_become_markup() -> None:
    text = page_templates().get_template("report.md.j2").render(context())
    assert "<img" not in text
    row = next(line for line in text.splitlines() if line.startswith("| &lt;img"))
    assert row.replace("\\|", "").count("|") == 3


def test_the_page_asks_for_nothing_from_the_network() -> None:
    page = page_templates().get_template("report.html.j2").render(context())
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_data_cannot_end_its_script() -> None:
    text = script_json({"a": "</script><b>&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><b>&"}


def test_equal_figures_give_equal_charts(thirty_frames: FrameMeasures) -> None:
    first = distribution_chart([thirty_frames], ["refined"])
    assert first == distribution_chart([thirty_frames], ["refined"])
    assert timeline_chart(thirty_frames, ["refined"], [15]).startswith("<?xml")


def test_spikes_of_the_baseline_do_not_flatten_the_result() -> None:
    result, baseline = np.linspace(0, 50, 100), np.linspace(0, 100, 100)
    baseline[3] = 400
    assert _top([result, baseline]) == pytest.approx(1.08 * 97, rel=0.02)
    assert _top([result * 6, baseline]) == pytest.approx(1.08 * 300)
    assert _top([np.full(3, np.nan)]) is None


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no finished pseudo-gt run"):
        FinishedRun.open(tmp_path / "nothing")


def test_a_run_without_a_measured_recording_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "settings.yaml").write_text(settings_yaml(PseudoGtSettings(preset="tiny")))
    with pytest.raises(DataMissing, match="no measured recording"):
        FinishedRun.open(folder)


def test_rerun_that_is_not_installed_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.report.rerun_export.find_spec", lambda _: None)
    with pytest.raises(BackendMissing, match=r"\.\[rerun\]"):
        require_rerun()

"""All benchmarks share one command line."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import benchmark_names, main


def test_options_of_all_benchmarks_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in benchmark_names())


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speling"])
    assert ended.value.code == 2
    assert "no such benchmark: speling" in capsys.readouterr().err

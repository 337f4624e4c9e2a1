"""What `init` found: lines, numbers and one page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.artifacts import write_bytes, write_json, write_text

Severity = Literal["error", "warning", "note"]
FOLDER = "check"
_RANK = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    severity: Severity
    text: str
    fix: str = ""
    """What to set or do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the page."""

    name: str
    """File, without suffix."""
    text: str
    """What to look for in it."""
    png: bytes


@dataclass(slots=True)
class Notebook:
    """Collects findings, numbers and pictures while `init` works."""

    findings: list[Finding] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    """Label -> value with unit."""
    pictures: list[Picture] = field(default_factory=list)

    def say(self, severity: Severity, text: str, fix: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(severity, text, fix))

    def draw(self, name: str, text: str, png: bytes) -> None:
        """Add a picture."""
        self.pictures.append(Picture(name, text, png))


@dataclass(frozen=True, slots=True)
class InitReport:
    """The outcome of `init`."""

    tree: Path
    page: Path
    config: Path | None
    """None when no tree was written."""
    findings: tuple[Finding, ...]
    numbers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """True when the tree can be fitted."""
        return self.config is not None and not any(f.severity == "error" for f in self.findings)

    def to_text(self) -> str:
        """Findings, worst first, then numbers, then what to do next."""
        width = max((len(name) for name in self.numbers), default=0)
        lines = [f"{name.ljust(width)}  {value}" for name, value in self.numbers.items()]
        for finding in self.findings:
            mark = "ERROR" if finding.severity == "error" else finding.severity
            lines.append(f"{mark}: {finding.text}")
            if finding.fix:
                lines.append(f"    what to do: {finding.fix}")
        lines.append(f"page with pictures: {self.page}")
        if self.ok:
            lines.append(f"ready: make doctor CONFIG={self.config}; make pseudo-gt CONFIG={self.config}")
        else:
            lines.append("not ready" if self.config is not None else "not ready: no tree was written")
        return "\n".join(lines) + "\n"


def write_report(notebook: Notebook, out: Path, title: str, config: Path | None) -> InitReport:
    """Write page, pictures and numbers below `out/check`."""
    folder = out / FOLDER
    findings = sorted(notebook.findings, key=lambda finding: _RANK[finding.severity])
    for old in folder.glob("*.png"):
        old.unlink()
    for picture in notebook.pictures:
        write_bytes(folder / f"{picture.name}.png", picture.png)
    page = folder / "index.html"
    report = InitReport(out, page, config, tuple(findings), dict(notebook.numbers))
    environment = Environment(
        loader=PackageLoader("pipelines.capture"), undefined=StrictUndefined, autoescape=True
    )
    template = environment.get_template("init.html.j2")
    content: dict[str, Any] = {"title": title, "report": report, "pictures": notebook.pictures}
    write_text(page, template.render(content))
    write_json(
        folder / "report.json",
        {
            "ok": report.ok,
            "findings": [{"severity": f.severity, "text": f.text, "fix": f.fix} for f in findings],
            "numbers": dict(notebook.numbers),
        },
    )
    return report

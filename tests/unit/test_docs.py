"""What the documentation names is there: files, headings, verbs, their settings.

Commands are looked for in the pages, in the texts of the code (what it prints, what its docstrings say) and
in the Makefile. Each is put together by `make -n` and read by the command line, up to where work would begin.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

import pytest

import benchmarks.__main__
import flows.commands
import pipelines.config
from flows import cli
from pipelines.config import Settings
from pipelines.errors import SettingsInvalid

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipelines", "sahmr", "flows", "benchmarks")
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/goldens/*.md")}
    | {path for room in ROOMS for path in ROOT.glob(f"{room}/**/*.md")}
)
CODE = sorted(path for room in ROOMS for path in ROOT.glob(f"{room}/**/*.py"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
PLACEHOLDER = re.compile(r"<[^<>]*>")
COMMAND = re.compile(r"^(?:\.venv/bin/)?(make|python -m (?:flows|benchmarks)) (?=[a-z])")
TARGETS = "|".join(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
BARE = re.compile(rf"^(make (?:{TARGETS})|python -m (?:flows|benchmarks) [a-z-]+)( \S*=.*)?$")
VARIABLE = re.compile(r"^([A-Za-z_]+)=(.*)$", re.DOTALL)
WITHOUT_SETTINGS = {"survey", "compare", "verify", "migrate-shards"}


class Read(BaseException):
    """The settings were read; the verb goes no further."""


def in_page(text: str) -> Iterator[str]:
    """Commands of a page: lines of its code, and code within its sentences."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from one_by_one(line.split(" #")[0])
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from one_by_one(span)


def one_by_one(line: str) -> list[str]:
    return [part.strip() for part in line.split("&&")]


def in_code(path: Path) -> Iterator[str]:
    """Commands in the strings of a module: between backticks, or alone on a line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.replace("\\\n", " ")
            yield from (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))
            yield from (line.strip() for line in text.splitlines() if BARE.match(line.strip()))


def commands() -> list[tuple[str, str]]:
    """Every command with where it stands; alternatives `<a|b>` one by one."""
    found: set[tuple[str, str]] = set()
    for path in (*PAGES, *CODE):
        texts = in_page(path.read_text(encoding="utf-8")) if path.suffix == ".md" else in_code(path)
        found |= {(str(path.relative_to(ROOT)), text) for text in texts if COMMAND.match(text)}
    for example in re.findall(r"##.*?: (make [^,(\n]*)", MAKEFILE):
        found.add(("Makefile", re.sub(r" \[(.*)\]", r" \1", example).strip()))
    return sorted((place, one) for place, text in found for one in alternatives(text))


def alternatives(text: str) -> list[str]:
    choice = re.search(r"<([a-z0-9-]+(?:\|[a-z0-9-]+)+)>", text)
    if choice is None:
        return [text]
    return [one for word in choice[1].split("|") for one in alternatives(text.replace(choice[0], word))]


def expanded(text: str) -> list[list[str]]:
    """Arguments of the Python calls a command makes.

    Raises:
        ValueError: make would not take it so.
    """
    words = shlex.split(PLACEHOLDER.sub("placeholder", text))
    if words[0] != "make":
        return [words[2:]]
    for word in words[2:]:
        if re.search(rf"^{re.escape(word)}:", MAKEFILE, re.MULTILINE):  # one verb after another
            continue
        variable = VARIABLE.match(word)
        if variable is None or f"$({variable[1]})" not in MAKEFILE.replace("$(if $(", "$("):
            raise ValueError(f"the Makefile does not know {word}")
    made = subprocess.run(
        ["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise ValueError(made.stderr)
    lines = re.findall(r"python -m ((?:flows|benchmarks)\b.*)$", made.stdout, re.MULTILINE)
    return [line.replace('"', "").split() for line in lines] or [["make", words[1]]]


@pytest.fixture
def until_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs stop once their settings are read; files that only an example names are not opened."""
    own = pipelines.config.load_settings

    def load(record: type[Settings], config: Path | None, overrides: Any = ()) -> None:
        there = config is not None and (ROOT / config).is_file()
        try:
            own(record, ROOT / config if config is not None and there else None, overrides)
        except SettingsInvalid as error:
            problems = [line for line in error.what.splitlines()[1:] if "Field required" not in line]
            if config is None or there or problems or not error.what.count("Field required"):
                raise
        raise Read

    monkeypatch.setattr(pipelines.config, "load_settings", load)
    monkeypatch.setattr(flows.commands, "load_settings", load)
    monkeypatch.setattr(benchmarks.__main__, "configure_logging", lambda: load(Settings, None))


def understood(arguments: list[str]) -> None:
    """Raises unless the command line takes the arguments."""
    if arguments[0] == "make":
        return
    if arguments[0] == "benchmarks":
        benchmarks.__main__.main(arguments[1:])
    _, verb, *rest = arguments
    options = cli._parser().parse_args([verb, *rest] if rest else [verb, "--help"])
    is_folder = verb == "status" and "/" in rest[-1] and "=" not in rest[-1]
    if verb not in WITHOUT_SETTINGS and not is_folder:
        options.verb(options)
        raise AssertionError("no settings were read")


def headings(page: Path) -> set[str]:
    """As GitHub names them in links."""
    lines = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", line.lower())) for line in lines]
    return {line.strip().replace(" ", "-") for line in plain}


def test_links_lead_to_files_and_headings() -> None:
    wrong, count = [], 0
    for page in PAGES:
        for target in ("".join(found) for found in LINK.findall(page.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, heading = target.partition("#")
            path, count = (page.parent / name if name else page), count + 1
            if not path.exists() or (heading and heading not in headings(path)):
                wrong.append(f"{page.relative_to(ROOT)}: {target}")
    assert not wrong, "\n".join(wrong)
    assert count > 50


def test_pages_and_decisions_that_are_named_exist() -> None:
    numbers = {int(path.name[:4]) for path in ROOT.glob("docs/decisions/*.md")}
    wrong = []
    for path in (*PAGES, *CODE, *ROOT.glob("configs/**/*.yaml"), ROOT / "Makefile"):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        for name in re.findall(rf"\b(?:{rooms(path)})/[\w/.-]*\.(?:md|yaml|py|png|jpg)\b", text):
            if not any((ROOT / start / name).exists() for start in ("", "pipelines", "tests/unit")):
                wrong.append(f"{place}: {name}")
        for number in re.findall(r"\bdecision (\d+)\b", text):
            if int(number) not in numbers:
                wrong.append(f"{place}: decision {number}")
    assert not wrong, "\n".join(wrong)


def rooms(path: Path) -> str:
    """Where named files lie; code also names files of the programs it follows."""
    return "docs|configs" if path.suffix == ".py" else "docs|configs|pipelines|sahmr|flows|benchmarks"


def test_settings_named_within_sentences_exist() -> None:
    """`runner.kind=dask` alone does not say whose it is: some record has it."""
    import_rooms()
    records = every_record(Settings)
    wrong = []
    for page in PAGES:
        for span in SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            given = re.fullmatch(r"([a-z]\w*(?:\.\w+)*)=(?!True|False)[^\s=]+", span)
            if given and not any(has_setting(record, given[1].split(".")) for record in records):
                wrong.append(f"{page.relative_to(ROOT)}: {span}")
    assert not wrong, "\n".join(wrong)


def import_rooms() -> None:
    for path in CODE:
        if path.name != "__main__.py" and "(Settings)" in path.read_text(encoding="utf-8"):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def every_record(record: type[Settings]) -> list[type[Settings]]:
    return [record, *(one for child in record.__subclasses__() for one in every_record(child))]


def has_setting(record: type[Settings], names: list[str]) -> bool:
    first, *rest = names
    if first not in record.model_fields:
        return False
    nested = pipelines.config._nested_model(record.model_fields[first].annotation)
    if not rest:
        return True
    if nested is None:
        return get_origin(record.model_fields[first].annotation) is dict
    return issubclass(nested, Settings) and has_setting(nested, rest)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_commands_name_real_verbs_and_settings(until_settings: None) -> None:
    wrong, every = [], commands()
    for place, text in every:
        try:
            for arguments in expanded(text):
                understood(arguments)
        except Read:
            continue
        except (SystemExit, Exception) as error:
            if not (isinstance(error, SystemExit) and error.code == 0):
                wrong.append(f"{place}: {text}\n    {error}")
    assert not wrong, "\n".join(wrong)
    assert len(every) > 150

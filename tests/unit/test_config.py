from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.config import Settings, load_settings, settings_yaml, validate_settings
from pipelines.errors import DataMissing, SettingsInvalid


class SolverSettings(Settings):
    steps: int = 10
    tolerance: float = 1e-3
    kind: Literal["lbfgs", "newton"] = "lbfgs"


class RunSettings(Settings):
    """A run."""

    root: Path | None = None
    names: tuple[str, ...] = ()
    solver: SolverSettings = SolverSettings()
    """How to solve."""
    stages: tuple[SolverSettings, ...] = ()
    optional: SolverSettings | None = None


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(error: pytest.ExceptionInfo[SettingsInvalid]) -> str:
    return str(error.value)


def test_defaults_come_from_code():
    assert load_settings(RunSettings) == RunSettings()


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_settings(RunSettings, yaml_file(tmp_path, "# nothing\n")) == RunSettings()


def test_the_command_line_comes_after_the_file(tmp_path):
    path = yaml_file(tmp_path, "solver:\n  steps: 20\n  tolerance: 1e-5\nroot: /data\n")
    settings = load_settings(RunSettings, path, ["solver.steps=30", "names=[a, b]"])
    assert settings.solver == SolverSettings(steps=30, tolerance=1e-5)
    assert settings.root == Path("/data")
    assert settings.names == ("a", "b")


def test_a_misspelt_key_is_named_with_a_suggestion():
    with pytest.raises(SettingsInvalid) as error:
        load_settings(RunSettings, overrides=["solver.step=3"])
    assert "solver.step: unknown key; did you mean 'steps'?" in message(error)


def test_a_key_like_no_other_lists_the_known_ones():
    with pytest.raises(SettingsInvalid, match="known keys: kind, steps, tolerance"):
        load_settings(RunSettings, overrides=["solver.xyz=3"])


@pytest.mark.parametrize("place", ["optional.step=1", "stages=[{step: 1}]"])
def test_suggestions_reach_into_options_and_lists(place):
    with pytest.raises(SettingsInvalid, match="did you mean 'steps'"):
        load_settings(RunSettings, overrides=[place])


def test_all_problems_are_told_at_once(tmp_path):
    path = yaml_file(tmp_path, "solver: {stepz: 1, kind: sgd, tolerance: many}\nnams: []\n")
    with pytest.raises(SettingsInvalid) as error:
        load_settings(RunSettings, path)
    text = message(error)
    assert "4 problem(s)" in text
    assert str(path) in text
    for part in ("solver.stepz", "solver.kind", "'lbfgs' or 'newton'", "found 'many'", "nams"):
        assert part in text


@pytest.mark.parametrize(
    ("override", "problem"),
    [("steps", "key=value"), ("=3", "key=value"), ("root.x=3", "root is a value")],
)
def test_malformed_overrides_are_refused(tmp_path, override, problem):
    path = yaml_file(tmp_path, "root: /data\n")
    with pytest.raises(SettingsInvalid, match=problem):
        load_settings(RunSettings, path, [override])


def test_an_override_may_hold_an_equals_sign():
    assert load_settings(RunSettings, overrides=["root=/data/a=b"]).root == Path("/data/a=b")


def test_a_missing_file_says_how_to_give_one(tmp_path):
    with pytest.raises(DataMissing, match="CONFIG="):
        load_settings(RunSettings, tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(SettingsInvalid, match=r"YAML|mapping"):
        load_settings(RunSettings, yaml_file(tmp_path, text))


def test_yaml_cannot_make_objects(tmp_path):
    path = yaml_file(tmp_path, "root: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(SettingsInvalid, match="not valid YAML"):
        load_settings(RunSettings, path)


def test_keys_that_are_no_words_are_refused(tmp_path):
    with pytest.raises(SettingsInvalid):
        load_settings(RunSettings, yaml_file(tmp_path, "1: 2\n"))


def test_the_text_below_a_setting_is_its_description():
    assert RunSettings.model_fields["solver"].description == "How to solve."


def test_records_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        RunSettings().root = Path("/elsewhere")  # type: ignore[misc]


# PyYAML itself loses three exotic line breaks.
words = st.text(
    st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"]), max_size=5
)


@given(
    st.builds(
        RunSettings,
        root=st.none() | st.just(Path("/some where/ü")),
        names=st.lists(words, max_size=3).map(tuple),
        solver=st.builds(
            SolverSettings,
            steps=st.integers(-5, 5),
            tolerance=st.floats(allow_nan=False, allow_infinity=False),
        ),
    )
)
def test_the_resolved_settings_are_a_config_file_again(tmp_path_factory, settings):
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    path.write_text(settings_yaml(settings), encoding="utf-8")
    again = load_settings(RunSettings, path)
    assert again == settings
    assert again.content_hash() == settings.content_hash()


def test_the_hash_sees_values_not_their_origin():
    by_default = RunSettings()
    spelt_out = validate_settings(RunSettings, {"solver": {"steps": 10, "tolerance": "0.001"}})
    assert by_default.content_hash() == spelt_out.content_hash()
    assert by_default.content_hash() != RunSettings(names=("a",)).content_hash()

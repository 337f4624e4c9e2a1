"""Strict YAML and `key=value` overrides -> frozen settings records.

Defaults live in code; a YAML file and the command line only override. An unknown key is an error with
a suggestion, and all errors are reported at once.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import DataMissing, SettingsInvalid

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings record: frozen, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    def canonical_json(self) -> str:
        """One line of sorted JSON, equal for equal settings."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON: the settings' identity in every done-marker."""
        return sha256(self.canonical_json().encode()).hexdigest()


def load_settings(record: type[S], yaml_path: Path | None = None, overrides: Sequence[str] = ()) -> S:
    """Build a settings record from defaults, then a YAML file, then `a.b=value` overrides.

    Raises:
        DataMissing: the YAML file does not exist.
        SettingsInvalid: unknown keys or bad values; the message lists every one.
    """
    tree: dict[Any, Any] = {}
    if yaml_path is not None:
        tree = _read_yaml(yaml_path)
    for override in overrides:
        _apply_override(tree, override)
    return validate_settings(record, tree, source=yaml_path)


def validate_settings(record: type[S], tree: Mapping[Any, Any], source: object = None) -> S:
    """Validate a plain mapping; all problems in one `SettingsInvalid`."""
    try:
        return record.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(record, problem) for problem in error.errors()]
        raise SettingsInvalid(
            f"{record.__name__}: {len(lines)} problem(s) in the settings\n    " + "\n    ".join(lines),
            where=source,
            fix="correct the keys above; `python -m flows settings` prints every setting with its value",
        ) from None


def settings_yaml(settings: Settings) -> str:
    """The resolved settings as YAML, ready to be used as a config file again."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise DataMissing(
            "settings file not found", where=path, fix="give CONFIG= a file under configs/"
        )
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsInvalid(f"not valid YAML: {error}", where=path) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsInvalid(
            "a settings file holds a mapping of keys to values",
            where=path,
            found=type(tree).__name__,
        )
    return tree


def _apply_override(tree: dict[Any, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise SettingsInvalid("overrides are written key=value", found=override)
    node = tree
    *parents, leaf = key.split(".")
    for name in parents:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise SettingsInvalid(f"{key}: {name} is a value, not a group of settings")
        node = child
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        node[leaf] = text


def _explain(record: type[BaseModel], problem: Any) -> str:
    location = [part for part in problem["loc"] if isinstance(part, str)]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']} (found {problem.get('input')!r})"
    known = _fields_at(record, location[:-1])
    close = difflib.get_close_matches(location[-1], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
    return f"{name}: unknown key; {hint}"


def _fields_at(record: type[BaseModel], path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = record
    for name in path:
        field = model.model_fields.get(name)
        nested = _nested_model(field.annotation) if field is not None else None
        if nested is None:
            continue
        model = nested
    return list(model.model_fields)


def _nested_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for argument in typing.get_args(annotation):
            found = _nested_model(argument)
            if found is not None:
                return found
    return None

"""Schedules and settings of deployments are refused before anything reaches a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.deploy.deployments import _deployment
from flows.deploy.registry import FLOWS
from flows.deploy.settings import DailySettings, DeploymentSettings
from pipelines.config import load_settings
from pipelines.errors import SettingsInvalid
from sahmr.networks.mesh_recovery import MeshRecoverySettings
from sahmr.training.settings import TrainingSettings

SHIPPED = Path(__file__).parents[4] / "configs" / "schedules.yaml"


def daily(**deployment: object) -> DailySettings:
    return DailySettings(deployments={"mine": DeploymentSettings.model_validate(deployment)})


def test_the_shipped_schedules_deploy_every_flow_and_a_nightly_run() -> None:
    settings = load_settings(DailySettings, SHIPPED)
    made = {name: _deployment(settings, name) for name in settings.deployments}
    assert {one.flow for one in settings.deployments.values()} == set(FLOWS)
    assert [name for name, one in made.items() if one.schedules] == ["nightly"]
    assert made["nightly"].parameters["settings"]["pseudo_gt"]["preset"] == "first-run"
    assert made["nightly"].concurrency_limit == 1


def test_the_defaults_deploy_the_same_as_the_shipped_file() -> None:
    shipped, default = load_settings(DailySettings, SHIPPED), DailySettings()
    assert {n: (d.flow, d.cron) for n, d in shipped.deployments.items()} == {
        n: (d.flow, d.cron) for n, d in default.deployments.items()
    }


@pytest.mark.parametrize("cron", ["every night", "0 25 * * *", "* * *", ""])
def test_a_wrong_schedule_names_the_deployment(cron: str) -> None:
    with pytest.raises(SettingsInvalid, match="not a cron schedule") as refusal:
        _deployment(daily(flow="nightly", cron=cron), "mine")
    assert "deployments.mine.cron" in str(refusal.value)


def test_a_misspelt_setting_of_a_deployed_flow_is_named_before_it_is_deployed() -> None:
    with pytest.raises(SettingsInvalid, match="did you mean 'preset'") as refusal:
        _deployment(daily(flow="pseudo-gt", settings={"presett": "tiny"}), "mine")
    assert "deployments.mine.settings" in str(refusal.value)


def test_the_run_form_starts_from_the_values_of_the_preset() -> None:
    """It sends back every field; a default in the place of a preset's value would win over the preset."""
    sent = _deployment(daily(flow="train", settings={"preset": "tiny"}), "mine").parameters
    tiny = TrainingSettings(preset="tiny")
    assert sent["settings"]["mesh_network"]["hidden"] == list(tiny.mesh_network.hidden)
    assert tiny.mesh_network.hidden != MeshRecoverySettings().hidden
    assert FLOWS["train"].flow.validate_parameters(sent)["settings"] == tiny


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="not a time zone"):
        load_settings(DailySettings, None, ["timezone=Mars/Olympus"])


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_the_run_form_shows_every_field_of_the_settings(name: str) -> None:
    from prefect.utilities.callables import parameter_schema

    known = FLOWS[name]  # type: ignore[index]
    schema = parameter_schema(known.flow).model_dump_for_openapi()
    assert list(schema["properties"]) == ["settings"]
    shown = schema["definitions"][known.settings.__name__]["properties"]
    assert set(shown) == set(known.settings.model_fields)
    nested = [part for part in schema["definitions"].values() if part.get("type") == "object"]
    assert all("properties" in part for part in nested)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_what_the_run_form_sends_becomes_the_same_settings(name: str) -> None:
    known = FLOWS[name]  # type: ignore[index]
    settings = known.settings.model_validate({})
    sent = {"settings": settings.model_dump(mode="json")}
    received = known.flow.validate_parameters(sent)["settings"]
    assert received == settings

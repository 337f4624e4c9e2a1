import dataclasses
import math

import pytest

from pipelines.metrics.summary import summarise
from pipelines.metrics.targets import check_targets


@pytest.fixture(scope="module")
def table(measured):
    return summarise([measured("Room_00001_01")])


def test_each_demand_is_compared_with_its_limit(table):
    met = {target.text: target.met for target in check_targets(table)}
    assert met["Penetration, times lower"]  # about 2.75 cm against 0.75 cm
    assert met["Reprojection vs true joints, times lower"]  # 60 mm against 20 mm
    assert met["V2V, visible frames"]  # 20 mm
    assert met["Jump at window seams"]
    assert met["Frames with the person seen that are valid"]
    assert met["Slide of planted feet, times lower"] is False  # both slide alike
    assert met["Skating frames, times fewer"] is None  # nobody skates in both: neither is lower


def test_what_the_data_cannot_tell_is_neither_met_nor_missed(table):
    row = {k: c for k, c in table.groups["all"]["prox_humor"].items() if not k.startswith("v2v")}
    groups = {"all": {**table.groups["all"], "prox_humor": row}}
    targets = check_targets(dataclasses.replace(table, groups=groups))
    found = {target.text: target for target in targets}["V2V, visible frames"]
    assert found.met is None
    assert math.isnan(found.found)


def test_a_missed_limit_is_said(table, measured):
    cell = dataclasses.replace(table.cell("prox_humor", "v2v_v1.visible"), value=25.1)
    row = {**table.groups["all"]["prox_humor"], "v2v_v1.visible": cell}
    groups = {"all": {**table.groups["all"], "prox_humor": row}}
    targets = check_targets(dataclasses.replace(table, groups=groups))
    found = {target.text: target for target in targets}["V2V, visible frames"]
    assert (found.found, found.wanted, found.met) == (25.1, "<= 25", False)


def test_without_a_baseline_there_is_nothing_to_check(table):
    assert check_targets(dataclasses.replace(table, baseline=None)) == []

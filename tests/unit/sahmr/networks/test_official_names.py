from __future__ import annotations

import pytest

from sahmr.networks import official_names
from sahmr.networks.official_names import NameTable

TABLES = {
    "hrnet_w64_cls": official_names.HRNET,
    "hrnet_w64_featmap": official_names.HRNET,
    "metro_3dpw": official_names.METRO,
    "rcnet": official_names.RCNET,
    "sahmr": official_names.SAHMR,
}


@pytest.mark.parametrize("name", TABLES)
def test_every_official_name_comes_back(name, official_shapes):
    table, names = TABLES[name], official_shapes(name)
    ours = {table.ours(key) for key in names}
    assert len(ours) == len(names)
    assert {table.official(key) for key in ours} == set(names)


def test_renaming_by_hand():
    official = "metro_enhanced.trans_encoder.2.bert.encoder.linear_cp.1.mlp.0.weight"
    ours = "mesh_recovery.stages.2.scene_layers.1.mix.weight"
    assert official_names.SAHMR.ours(official) == ours
    assert official_names.SAHMR.official(ours) == official
    assert official_names.METRO.ours("upsampling2.bias") == "upsampling.to_full.bias"
    assert official_names.METRO.official("upsampling.to_full.bias") == "upsampling2.bias"


def test_unknown_names_stay():
    assert official_names.RCNET.ours("something.else") == "something.else"


def test_numbers_match_digits_only():
    table = NameTable((("a.#.", "b.#."),), unused=("c.#.",))
    assert table.ours("a.12.x") == "b.12.x"
    assert table.ours("a.k.x") == "a.k.x"
    assert table.is_unused("c.3.y")
    assert not table.is_unused("c.y")


def test_unused_tensors_are_the_ones_no_forward_pass_reads(official_shapes):
    unused = [key for key in official_shapes("sahmr") if official_names.SAHMR.is_unused(key)]
    parts = {"embeddings.", "pooler.", "backbone.classifier."}
    assert len(unused) == 3 * (5 + 2) + 2
    assert all(any(part in key for part in parts) for key in unused)

"""Fixture trees of the other data sets, written once by the generator, and copies to spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.model import load_smplx
from pipelines.bodies.track import parameter_tensors
from pipelines.other_datasets.sahmr_support.prox import ProxSupport
from pipelines.other_datasets.sahmr_support.rich import RichSupport
from pipelines.other_trees.amass import write_amass_tree
from pipelines.other_trees.egobody import write_egobody_tree
from pipelines.other_trees.prox_quantitative import write_quantitative_tree
from pipelines.other_trees.rich import write_rich_tree
from pipelines.other_trees.sahmr_support import write_prox_support, write_rich_support
from pipelines.records import Gender, SmplxParameters

Vertices = Callable[[SmplxParameters, Gender], np.ndarray]


@dataclass(frozen=True)
class WrittenTree:
    """A tree and where the truth of it lies."""

    root: Path
    truth: Path


@pytest.fixture(scope="session")
def files() -> BodyFiles:
    return resolve_body_files(None)


@pytest.fixture(scope="session")
def smplx_vertices(files: BodyFiles) -> Vertices:
    """Vertices of SMPL-X parameters, in the parameters' frame."""

    @torch.no_grad()
    def pose(parameters: SmplxParameters, gender: Gender) -> np.ndarray:
        return load_smplx(files, gender)(**parameter_tensors(parameters)).vertices.numpy()

    return pose


@pytest.fixture(scope="session")
def quantitative(tmp_path_factory: pytest.TempPathFactory, files: BodyFiles) -> WrittenTree:
    """PROX quantitative; read only."""
    folder = tmp_path_factory.mktemp("quantitative")
    write_quantitative_tree(folder / "data", folder / "truth", files)
    return WrittenTree(folder / "data", folder / "truth")


@pytest.fixture(scope="session")
def rich_root(tmp_path_factory: pytest.TempPathFactory, files: BodyFiles) -> Path:
    root = tmp_path_factory.mktemp("rich")
    write_rich_tree(root, files)
    return root


@pytest.fixture(scope="session")
def egobody_root(tmp_path_factory: pytest.TempPathFactory, files: BodyFiles) -> Path:
    root = tmp_path_factory.mktemp("egobody")
    write_egobody_tree(root, files)
    return root


@pytest.fixture(scope="session")
def rich_support(tmp_path_factory: pytest.TempPathFactory, files: BodyFiles) -> RichSupport:
    root = tmp_path_factory.mktemp("support_rich")
    write_rich_support(root, files)
    return RichSupport(root, files)


@pytest.fixture(scope="session")
def prox_support(
    tmp_path_factory: pytest.TempPathFactory, files: BodyFiles, quantitative: WrittenTree
) -> ProxSupport:
    root = tmp_path_factory.mktemp("support_prox")
    write_prox_support(root, quantitative.root, files)
    return ProxSupport(root / "sahmr_support", files)


@pytest.fixture(scope="session")
def amass_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("amass")
    write_amass_tree(root)
    return root


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a tree so that a test may spoil it."""

    def copy(root: Path) -> Path:
        return Path(shutil.copytree(root, tmp_path / "copy"))

    return copy

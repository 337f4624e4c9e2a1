"""Bodies for the tests of motions: the stand-in, loaded once."""

from __future__ import annotations

import pytest

from pipelines.bodies.files import BodyFiles, resolve_body_files


@pytest.fixture(scope="session")
def files() -> BodyFiles:
    """The licence-free stand-in bodies."""
    return resolve_body_files(None)

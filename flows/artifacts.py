"""The tables and pictures of a finished stage, shown on the run's page of the Prefect server."""

from __future__ import annotations

import base64
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.context import FlowRunContext


def publish(stage: str, table: Path, picture: Path | None = None) -> None:
    """Make artifacts of a stage's Markdown file and of its PNG; nothing where no flow is running.

    Args:
        stage: key of the artifacts: lower case, digits and dashes.
        table: Markdown.
        picture: left out where there is none, for example because drawing it was turned off.
    """
    if FlowRunContext.get() is None:
        return
    place = f"files: {table.parent}"
    create_markdown_artifact(table.read_text(encoding="utf-8"), key=stage, description=place)
    if picture is not None and picture.is_file():
        content = base64.b64encode(picture.read_bytes()).decode()
        address = f"data:image/png;base64,{content}"
        create_image_artifact(address, key=f"{stage}-picture", description=place)

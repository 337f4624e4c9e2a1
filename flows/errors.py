"""Errors of what flows need beside the pipelines: servers, workers, clusters."""

from __future__ import annotations

from pipelines.errors import PipelineError


class ServiceMissing(PipelineError):
    """A server, worker or cluster that is needed does not answer, or its place is taken."""

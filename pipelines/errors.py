"""Errors a user can act on: what, where, expected, found, what to do."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of every error that is the user's to mend; the message says how."""

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        parts = [what]
        parts += [
            f"  {label}: {value}"
            for label, value in (
                ("where", where),
                ("expected", expected),
                ("found", found),
                ("what to do", fix),
            )
            if value is not None
        ]
        super().__init__("\n".join(parts))
        self.what = what


class DataMissing(PipelineError):
    """A file or folder that is needed is not there."""


class DataInvalid(PipelineError):
    """A file is there but does not hold what its format promises."""


class SettingsInvalid(PipelineError):
    """A setting is unknown or out of range."""


class BackendMissing(PipelineError):
    """An optional package is asked for but not installed."""


class FittingFailed(PipelineError):
    """An optimisation ended without a usable result."""


class ProductionFailed(PipelineError):
    """Files of a set could not be made; the others were."""


class OutputFailed(PipelineError):
    """A result could not be written: the disk is full, the folder is gone, or nobody may write to it."""


class WorkerLost(PipelineError):
    """A worker process ended without a word, most often because the memory did not suffice."""

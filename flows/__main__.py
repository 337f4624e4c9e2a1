"""The command line: `python -m flows <verb>`, also installed as `prox-humor-gt`."""

from __future__ import annotations

import sys

from flows.environment import set_environment

set_environment()  # before anything imports Prefect or torch

from flows.cli import run  # noqa: E402


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

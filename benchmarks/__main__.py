"""`python -m benchmarks [name ...] [--out FOLDER] [options of the benchmarks]`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from rich.console import Console

from flows.environment import configure_logging, set_environment

set_environment()  # one thread; before anything imports torch

_NOT_BENCHMARKS = {"__main__", "table", "recorded_products"}


def benchmark_names() -> tuple[str, ...]:
    """All benchmarks, by module name."""
    found = (module.name for module in iter_modules([str(Path(__file__).parent)]))
    return tuple(sorted(name for name in found if name not in _NOT_BENCHMARKS))


def main(arguments: list[str]) -> int:
    """Run the named benchmarks (all when none is named), print their tables and write them as JSON."""
    modules = {name: import_module(f"benchmarks.{name}") for name in benchmark_names()}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(modules)}")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="results and data")
    for name, module in modules.items():
        module.add_options(parser.add_argument_group(name, module.DESCRIPTION))
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(modules))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(modules)}")
    configure_logging()
    console = Console(width=None if sys.stdout.isatty() else 120)  # a file has no width of its own
    for name in options.names or modules:
        table = modules[name].run(options)
        table.show(console)
        console.print(f"written: {table.write(options.out)}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

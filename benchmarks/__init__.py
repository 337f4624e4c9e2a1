"""Measurements of speed and result: `make bench`, or `python -m benchmarks [name ...]`.

Every module of this package but `table` is one benchmark: it has `DESCRIPTION`, `add_options(parser)` and
`run(options) -> BenchmarkTable`.
"""

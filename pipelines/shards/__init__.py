"""Training shards: HDF5 files that hold all that training needs, and say so; see docs/shard-format.md."""

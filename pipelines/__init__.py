"""Data side: readers, bodies, fitting, metrics. Never imports `sahmr` or `flows`."""

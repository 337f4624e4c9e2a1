"""Shards in the layouts of other programs: AMASS npz, PROXD pickles, SA-HMR's support files."""

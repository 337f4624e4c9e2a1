"""Test-time optimisation: the PROX-style baseline and HuMoR with scene terms."""

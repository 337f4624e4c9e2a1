"""Training of RCNet, the mesh network and METRO from shards; see docs/training.md."""

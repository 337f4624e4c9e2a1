"""The table's baseline: PROX's per-frame RGB-D fit of SMPL-X, for recordings without released fits."""

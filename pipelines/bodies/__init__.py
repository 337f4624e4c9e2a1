"""Body models: readers of the official SMPL-X and SMPL+H files and the licence-free stand-in."""

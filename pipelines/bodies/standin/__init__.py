"""The stand-in: licence-free bodies in the true SMPL-X and SMPL+H file formats.

`build` (a development tool) makes `seed.npz` from CC0 MakeHuman data; `expand` turns the seed into
model files in a cache folder. At run time only `expand` and what it imports are used.
"""

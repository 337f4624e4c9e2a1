"""Sparse 3D tensors: cells found by their keys, kernel maps, convolution, points to voxels and back."""

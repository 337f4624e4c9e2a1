"""Transforms, rotations, cameras, signed distance, nearest neighbours, meshes, robust functions."""

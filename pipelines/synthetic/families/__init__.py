"""Procedural families of motion: those for the embedded recordings and those for training."""

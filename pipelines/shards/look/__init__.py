"""Shards to look at: a contact sheet of many samples, a page with one sample in 3D."""

"""Which points of a scene and which vertices of a body touch, and with which part of the body."""

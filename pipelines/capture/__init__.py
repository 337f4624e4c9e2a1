"""One's own capture: from a camera's files and a scan to a recording tree that the PROX reader reads."""

"""A licence-free PROX tree with known truth, in the true on-disk layout."""

"""Networks, losses, training and evaluation of SA-HMR (not built yet)."""

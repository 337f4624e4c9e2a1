"""SA-HMR: networks, losses and targets, inference."""

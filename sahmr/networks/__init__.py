"""SA-HMR's networks, one module per box of the paper's figures."""

"""SA-HMR's released support files for RICH and for PROX quantitative: what its official evaluation reads."""

"""Prefect flows and the command line. Holds no maths."""

import logging

# In runs that a worker executes, Prefect gives these a handler (flows/deploy/service.py) but no level.
for _name in ("pipelines", "sahmr", "flows"):
    logging.getLogger(_name).setLevel(logging.INFO)

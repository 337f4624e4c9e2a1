"""Prefect flows and the command line. Holds no maths."""

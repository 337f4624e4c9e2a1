"""Flows in daily use: a server of one's own, a worker, deployments with schedules."""

"""Before, while and after a run: what will be done and why, what was done, and what went wrong."""

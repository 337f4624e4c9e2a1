"""Stages of the pseudo ground truth, as plain functions on folders; `flows.pseudo_gt` schedules them."""

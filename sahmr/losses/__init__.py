"""Losses: functions of a prediction and a target record, one value per sample, unweighted."""

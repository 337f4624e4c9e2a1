"""Readers of the data sets beside PROX qualitative, into the records PROX is read into.

Upper to `datasets`: what these trees share with PROX (calibration files, SMPL-X pickles, scans) is read
by the functions there. A room of its own, so that a change to one of these readers makes no PROX fit stale.
"""

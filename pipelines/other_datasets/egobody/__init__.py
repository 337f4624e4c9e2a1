"""EgoBody: two people in scanned rooms before three to five Kinects."""

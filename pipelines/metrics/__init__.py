"""What a fit is worth: penetration, reprojection, errors against truth, tables."""

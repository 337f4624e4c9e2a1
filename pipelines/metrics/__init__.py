"""How good a fit is: penetration, reprojection, plausibility and, where truth is known, true error.

Definitions, formulas and units: docs/metrics.md. Entry points: `evaluate.evaluate_recording`,
`summary.summarise`, `tables` (console, JSON, Markdown), `compare.compare`, `overlay.save_overlays`.
"""

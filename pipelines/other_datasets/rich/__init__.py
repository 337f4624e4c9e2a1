"""RICH: people in scanned places before several calibrated cameras, with contact labels."""

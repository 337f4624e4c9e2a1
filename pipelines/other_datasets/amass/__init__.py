"""AMASS: the motions HuMoR's prior was trained on, as clips with floor and contact labels."""

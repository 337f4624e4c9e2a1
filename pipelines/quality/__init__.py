"""How good is a frame's pseudo ground truth, told from what a real PROX tree holds.

    recording -> evidence -> observables -> error model -> expected error (mm) -> weight, reject reason

`score_recording(job)` writes `recordings/<recording>/quality.npz`, `read_quality(path)` reads it. The error
model is calibrated on synthetic recordings whose truth is known (`python -m flows calibrate-quality`); the
observables never read the truth.
"""

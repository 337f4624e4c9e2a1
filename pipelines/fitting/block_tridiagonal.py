"""Symmetric systems whose unknowns form a chain of frames, with a few unknowns shared by all."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def solve_bordered_chain(
    diagonal: Float[Tensor, "windows frames size size"],
    coupling: Float[Tensor, "windows links size size"],
    border: Float[Tensor, "windows frames size shared"],
    corner: Float[Tensor, "windows shared shared"],
    right: Float[Tensor, "windows frames size"],
    right_shared: Float[Tensor, "windows shared"],
) -> tuple[Float[Tensor, "windows frames size"], Float[Tensor, "windows shared"]]:
    """Solve [chain border; border^T corner] x = right for every window.

    Args:
        diagonal: blocks of the chain.
        coupling: block of frame t + 1 (rows) and frame t (columns).
        border: chain rows against shared columns; `shared` may be 0.
        corner: shared block.
        right: right-hand side of the chain.
        right_shared: right-hand side of the shared unknowns.
    """
    columns = torch.cat([right[..., None], border], dim=-1)
    solved = _solve_chain(diagonal, coupling, columns)
    alone, response = solved[..., 0], solved[..., 1:]
    if border.shape[-1] == 0:
        return alone, right_shared
    schur = corner - (border.mT @ response).sum(1)
    rest = right_shared - (border.mT @ alone[..., None]).sum(1)[..., 0]
    shared = torch.cholesky_solve(rest[..., None], safe_cholesky(schur))[..., 0]
    return alone - (response @ shared[:, None, :, None])[..., 0], shared


def _solve_chain(
    diagonal: Float[Tensor, "windows frames size size"],
    coupling: Float[Tensor, "windows links size size"],
    right: Float[Tensor, "windows frames size columns"],
) -> Float[Tensor, "windows frames size columns"]:
    """Block Cholesky forwards, substitution backwards."""
    num_frames = diagonal.shape[1]
    factors, carried, partial = [], [], []
    pivot, rows = diagonal[:, 0], right[:, 0]
    for frame in range(num_frames):
        factor = safe_cholesky(pivot)
        factors.append(factor)
        partial.append(torch.linalg.solve_triangular(factor, rows, upper=False))
        if frame + 1 < num_frames:
            # L_{t+1,t} of the block Cholesky factor
            link = torch.linalg.solve_triangular(factor, coupling[:, frame].mT, upper=False).mT
            carried.append(link)
            pivot = diagonal[:, frame + 1] - link @ link.mT
            rows = right[:, frame + 1] - link @ partial[-1]
    solution = [torch.linalg.solve_triangular(factors[-1].mT, partial[-1], upper=True)]
    for frame in range(num_frames - 2, -1, -1):
        rest = partial[frame] - carried[frame].mT @ solution[-1]
        solution.append(torch.linalg.solve_triangular(factors[frame].mT, rest, upper=True))
    return torch.stack(solution[::-1], dim=1)


def safe_cholesky(matrix: Float[Tensor, "windows size size"]) -> Float[Tensor, "windows size size"]:
    """Lower factor; a block that rounding made indefinite is lifted, one that is not finite replaced.

    Only steps depend on it: a bad step is found out by the energy and not taken.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed.any():
        return factor
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    finite = matrix.isfinite().flatten(1).all(1)[:, None, None]
    matrix = torch.where(finite, matrix, identity)
    scale = matrix.diagonal(dim1=-2, dim2=-1).abs().amax(-1)[:, None, None].clamp_min(1e-12)
    for exponent in range(-9, 4):
        lifted = matrix + (failed > 0)[:, None, None] * scale * 10.0**exponent * identity
        factor, still = torch.linalg.cholesky_ex(lifted)
        if not still.any():
            return factor
    return identity.expand_as(matrix)

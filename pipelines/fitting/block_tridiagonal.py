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

    Raises:
        torch.linalg.LinAlgError: not positive definite.
    """
    columns = torch.cat([right[..., None], border], dim=-1)
    solved = _solve_chain(diagonal, coupling, columns)
    alone, response = solved[..., 0], solved[..., 1:]
    if border.shape[-1] == 0:
        return alone, right_shared
    schur = corner - (border.mT @ response).sum(1)
    rest = right_shared - (border.mT @ alone[..., None]).sum(1)[..., 0]
    shared = torch.cholesky_solve(rest[..., None], torch.linalg.cholesky(schur))[..., 0]
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
        factor = torch.linalg.cholesky(pivot)
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

"""Muon for matrices inside the layers, AdamW for embeddings, norms and biases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Roughly the nearest semi-orthogonal matrices of a (count, rows, columns) stack (Jordan et al. 2024)."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.transpose(1, 2) if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised per matrix; one update for all matrices of equal shape, in float32."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._step_equal_shapes(parameters, group)

    def _step_equal_shapes(self, parameters: list[nn.Parameter], group: dict[str, float]) -> None:
        momentum, updates = group["momentum"], []
        for parameter in parameters:
            buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            assert parameter.grad is not None
            buffer.lerp_(parameter.grad, 1 - momentum)
            updates.append(parameter.grad.lerp(buffer, momentum))
        rows, columns = parameters[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


CAREFUL = ("layers.0.self_attn", "layers.1.self_attn")
"""What starts as it should be, see :mod:`tools.demo_model.start`."""


def build(
    model: nn.Module, muon_rate: float, adam_rate: float, careful_share: float
) -> list[torch.optim.Optimizer]:
    """The optimizers that together update every parameter once, careful ones at a share of the rate."""
    matrices: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    rest: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        is_matrix = parameter.dim() == 2 and "embed" not in name
        (matrices if is_matrix else rest)[name.startswith(CAREFUL)].append(parameter)
    shares = {False: 1.0, True: careful_share}
    made: list[torch.optim.Optimizer] = [
        Muon(matrices[careful], lr=muon_rate * share, momentum=0.95, weight_decay=0.05)
        for careful, share in shares.items()
    ]
    groups = [{"params": rest[careful], "lr": adam_rate * share} for careful, share in shares.items()]
    return [*made, torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)]

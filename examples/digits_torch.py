"""Train a small network on handwritten digits with PyTorch, its layers computed by fastconv.

pip install "fastconv[torch,examples]"
python examples/digits_torch.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from digits import Array, run
from torch import Tensor, nn

import fastconv.torch


class Model(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(32 * 4 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.linear(self.pool(x).flatten(1))


class TorchNetwork:
    """A model and its optimiser as the loop wants them; `convert=False` leaves all layers to PyTorch."""

    def __init__(self, weights: dict[str, Array], convert: bool = True) -> None:
        self.model = Model(len(weights["linear.bias"]))
        self.weights = {name: torch.from_numpy(array) for name, array in weights.items()}
        if convert:
            fastconv.torch.convert(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters())

    @property
    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    @weights.setter
    def weights(self, weights: dict[str, Tensor]) -> None:
        self.model.load_state_dict(weights)

    def step(self, x: Array, labels: Array, rate: float) -> float:
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model.train()(torch.from_numpy(x)), torch.from_numpy(labels))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def logits(self, x: Array) -> Array:
        return self.model.eval()(torch.from_numpy(x)).numpy()

    @torch.inference_mode()
    def features(self, x: Array) -> Array:
        return F.relu(self.model.eval().conv1(torch.from_numpy(x))).numpy()


if __name__ == "__main__":
    run("PyTorch", __doc__, TorchNetwork)

"""Train a small network on handwritten digits with autograd, which differentiates NumPy.

pip install "fastconv[autograd,examples]"
python examples/digits_autograd.py
"""

from __future__ import annotations

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.special import logsumexp
from digits import Adam, Array, run

import fastconv.autograd as fc


def hidden(weights: dict[str, Array], x: Array) -> Array:
    return np.maximum(fc.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], padding=1), 0)


def logits(weights: dict[str, Array], x: Array) -> Array:
    x = hidden(weights, x)
    x = np.maximum(fc.conv2d(x, weights["conv2.weight"], weights["conv2.bias"], padding=1), 0)
    x = fc.max_pool2d(x, 2).reshape(len(x), -1)
    return np.dot(x, weights["linear.weight"].T) + weights["linear.bias"]


def loss(weights: dict[str, Array], x: Array, labels: Array) -> Array:
    scores = logits(weights, x)
    return np.mean(logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels])


class AutogradNetwork:
    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self.adam = Adam()
        self.value_and_gradients = value_and_grad(loss)

    def step(self, x: Array, labels: Array, rate: float) -> float:
        value, gradients = self.value_and_gradients(self.weights, x, labels)
        self.weights = self.adam(self.weights, gradients, rate)
        return float(value)

    def logits(self, x: Array) -> Array:
        return logits(self.weights, x)

    def features(self, x: Array) -> Array:
        return hidden(self.weights, x)


if __name__ == "__main__":
    run("autograd", __doc__, AutogradNetwork)

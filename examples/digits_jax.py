"""Train a small network on handwritten digits with JAX.

pip install "fastconv[jax,examples]"
python examples/digits_jax.py
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from digits import Adam, Array, run

import fastconv.jax as fc

Weights = dict[str, jax.Array]


@jax.jit
def hidden(weights: Weights, x: jax.Array) -> jax.Array:
    return jax.nn.relu(fc.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], padding=1))


@jax.jit
def logits(weights: Weights, x: jax.Array) -> jax.Array:
    x = hidden(weights, x)
    x = jax.nn.relu(fc.conv2d(x, weights["conv2.weight"], weights["conv2.bias"], padding=1))
    x = fc.max_pool2d(x, 2).reshape(len(x), -1)
    return x @ weights["linear.weight"].T + weights["linear.bias"]


def loss(weights: Weights, x: jax.Array, labels: jax.Array) -> jax.Array:
    scores = logits(weights, x)
    right = jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(scores, axis=1) - right)


class JaxNetwork:
    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights: Weights = jax.tree.map(jnp.asarray, weights)
        self.adam = Adam()
        self.value_and_gradients = jax.jit(jax.value_and_grad(loss))

    def step(self, x: Array, labels: Array, rate: float) -> float:
        value, gradients = self.value_and_gradients(self.weights, x, labels)
        self.weights = self.adam(self.weights, gradients, rate)
        return float(value)

    def logits(self, x: Array) -> Array:
        return np.asarray(logits(self.weights, x))

    def features(self, x: Array) -> Array:
        return np.asarray(hidden(self.weights, x))


if __name__ == "__main__":
    run("JAX", __doc__, JaxNetwork)

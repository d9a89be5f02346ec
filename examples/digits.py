"""The handwritten digits, and all of training that no framework has a part in.

Shared by the examples: the images and their augmentation, the network's shape and first weights, Adam, the
loop with its progress bar and early stopping, and the plots.  An example brings a `Network`, which is what is
written in its framework, and calls `run`.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = NDArray[Any]
INK, MUTED, ACCENT = "#22313f", "#8795a1", "#c8502d"


class Network(Protocol):
    """A network in some framework; `weights` maps names to whatever arrays the framework has."""

    weights: dict[str, Any]

    def step(self, x: Array, labels: Array, rate: float) -> float:
        """Take one step of gradient descent on a batch, and return the loss before it."""
        ...

    def logits(self, x: Array) -> Array:
        """Return one number for each image and class."""
        ...

    def features(self, x: Array) -> Array:
        """Return what the first convolution makes of images: (images, channels, 8, 8)."""
        ...


# --- Images -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """Images of (count, 1, 8, 8) in float32 between 0 and 1, and the class of each."""

    x: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.x)

    def of(self, *classes: int) -> Images:
        """Keep the images of some classes, numbered anew from 0."""
        kept = np.isin(self.labels, classes)
        return Images(self.x[kept], np.searchsorted(sorted(classes), self.labels[kept]))

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """All images once in random order, each augmented."""
        order = rng.permutation(len(self))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield augment(self.x[chosen], rng), self.labels[chosen]


@dataclass(frozen=True)
class Digits:
    """The three parts that the images are split into: to learn from, to know when to stop, to judge."""

    train: Images
    valid: Images
    test: Images

    def of(self, *classes: int) -> Digits:
        return Digits(self.train.of(*classes), self.valid.of(*classes), self.test.of(*classes))


def load(seed: int = 0) -> Digits:
    """Split scikit-learn's 1,797 digits into 1,257, 180 and 360, each with the same share of every digit."""
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    rest, test, rest_labels, test_labels = train_test_split(
        x, labels, test_size=360, stratify=labels, random_state=seed
    )
    train, valid, train_labels, valid_labels = train_test_split(
        rest, rest_labels, test_size=180, stratify=rest_labels, random_state=seed
    )
    return Digits(Images(train, train_labels), Images(valid, valid_labels), Images(test, test_labels))


def augment(
    x: Array, rng: np.random.Generator, *, pixels: float = 0.8, degrees: float = 12, noise: float = 0.05
) -> Array:
    """Shift and rotate each image by a random amount and add noise, in a copy."""
    shifts = rng.uniform(-pixels, pixels, (len(x), 2))
    angles = np.radians(rng.uniform(-degrees, degrees, len(x)))
    centre = (np.array(x.shape[-2:]) - 1) / 2
    moved = np.empty_like(x)
    for image, out, shift, angle in zip(x[:, 0], moved[:, 0], shifts, angles):
        cos, sin = math.cos(angle), math.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        ndimage.affine_transform(image, rotation, centre - rotation @ (centre + shift), output=out, order=1)
    moved += noise * rng.standard_normal(x.shape, np.float32)
    return np.clip(moved, 0, 1, out=moved)


# --- The network and its optimiser ----------------------------------------------------------------------


def first_weights(classes: int = 10, seed: int = 0) -> dict[str, Array]:
    """Draw the weights that training begins with: He's normal numbers, and biases of zero.

    Two convolutions of 3x3 with 16 and 32 filters, each with ReLU; a maximum over 2x2; a linear layer.
    """
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "linear": (classes, 32 * 4 * 4)}
    weights: dict[str, Array] = {}
    for name, shape in shapes.items():
        scale = math.sqrt(2 / math.prod(shape[1:]))
        weights[f"{name}.weight"] = scale * rng.standard_normal(shape, np.float32)
        weights[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return weights


@dataclass
class Adam:
    """Kingma and Ba's optimiser on a dict of arrays of any library that has NumPy's operators."""

    beta1: float = 0.9
    beta2: float = 0.999
    steps: int = 0
    moments: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __call__(self, weights: dict[str, Any], gradients: dict[str, Any], rate: float) -> dict[str, Any]:
        """Return the weights after one step."""
        self.steps += 1
        scale = rate * math.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        new = {}
        for name, gradient in gradients.items():
            mean, square = self.moments.get(name, (0.0, 0.0))
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient**2
            self.moments[name] = mean, square
            new[name] = weights[name] - scale * mean / (square**0.5 + 1e-8)
        return new


# --- Training -----------------------------------------------------------------------------------------


@dataclass
class History:
    """What each epoch came to, and which one was the best."""

    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    best: int = 0


def cross_entropy(logits: Array, labels: Array) -> float:
    """Mean of the negative logarithm of the probability given to the right class."""
    shifted = logits - logits.max(1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(1))
    return float(np.mean(log_sums - shifted[np.arange(len(labels)), labels]))


def accuracy(logits: Array, labels: Array) -> float:
    return float(np.mean(logits.argmax(1) == labels))


def fit(
    network: Network,
    digits: Digits,
    *,
    epochs: int = 40,
    patience: int = 12,
    batch: int = 32,
    rate: float = 3e-3,
    seed: int = 0,
    title: str = "training",
) -> History:
    """Train until the validation loss has not fallen for `patience` epochs.

    The rate falls as half a cosine.  The network is left with the weights of its best epoch.
    """
    rng = np.random.default_rng(seed)
    history, best = History(), {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[figures]}")) as progress:
        task = progress.add_task(title, total=epochs, figures="")
        for epoch in range(epochs):
            now = rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
            losses = [network.step(x, labels, now) for x, labels in digits.train.batches(batch, rng)]
            logits = network.logits(digits.valid.x)
            history.train.append(float(np.mean(losses)))
            history.valid.append(cross_entropy(logits, digits.valid.labels))
            history.accuracy.append(accuracy(logits, digits.valid.labels))
            if history.valid[epoch] <= min(history.valid):
                history.best, best = epoch, copy.deepcopy(network.weights)
            figures = f"loss {history.train[-1]:.3f}, validation {history.valid[-1]:.3f}"
            progress.update(task, advance=1, figures=f"{figures} ({history.accuracy[-1]:.1%})")
            if epoch - history.best >= patience:
                break
    network.weights = best
    return history


def arguments(description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments of an example, which are those of the command line if None."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=40, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="plots' folder (default: %(default)s)")
    return parser.parse_args(argv)


def run(
    name: str,
    description: str | None,
    make: Callable[[dict[str, Array]], Network],
    argv: Sequence[str] | None = None,
) -> float:
    """Do all that an example does: train, save the plots, print and return the accuracy.

    Parameters
    ----------
    name : str
        What the framework is called.
    description : str
        What ``--help`` says.
    make : callable
        Makes the network of `first_weights`.
    argv : sequence of str, optional
        Arguments instead of those of the command line.
    """
    args = arguments(description, argv)
    digits = load(args.seed)
    network = make(first_weights(seed=args.seed))
    history = fit(network, digits, epochs=args.epochs, seed=args.seed, title=f"digits, {name}")
    logits = network.logits(digits.test.x)
    result = accuracy(logits, digits.test.labels)
    print(f"{name}: test accuracy {result:.2%} ({len(digits.test)} images), best epoch {history.best + 1}")

    stem = f"digits-{name.lower()}"
    sample = digits.test.x[:1]
    save(plot_losses(history, f"{name}: {result:.1%} of test images right"), args.out / f"{stem}-loss.png")
    save(plot_filters(np.asarray(network.weights["conv1.weight"])), args.out / f"{stem}-filters.png")
    save(plot_features(sample[0, 0], network.features(sample)[0]), args.out / f"{stem}-features.png")
    save(plot_confusion(logits.argmax(1), digits.test.labels), args.out / f"{stem}-confusion.png")
    print(f"plots: {args.out / stem}-*.png")
    return result


# --- Plots --------------------------------------------------------------------------------------------


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)


def plot_losses(history: History, title: str) -> Any:
    """Training and validation loss over the epochs, with the epoch whose weights were kept."""
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    epochs = np.arange(1, len(history.train) + 1)
    axes.plot(epochs, history.train, color=MUTED, label="training (augmented)")
    axes.plot(epochs, history.valid, color=ACCENT, label="validation")
    axes.axvline(history.best + 1, color=INK, linewidth=0.8, linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title=title)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def plot_filters(weight: Array) -> Any:
    """The filters of the first layer, all on one scale."""
    figure = plt.figure(figsize=(7.6, 2.3), layout="constrained")
    limit = float(np.abs(weight).max())
    axes = _tiles(figure, weight[:, 0], cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.9, aspect=12, label="weight")
    figure.suptitle("Filters of the first layer", fontsize=11)
    return figure


def plot_features(image: Array, maps: Array) -> Any:
    """An image, and what each filter of the first layer makes of it."""
    figure = plt.figure(figsize=(9.0, 2.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 3.6))
    _tiles(left, image[np.newaxis], rows=1, cmap="gray_r", vmin=0, vmax=1)
    left.suptitle("A test image", fontsize=11)
    axes = _tiles(right, maps, cmap="magma", vmin=0, vmax=float(maps.max()))
    right.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.9, aspect=12, label="after ReLU")
    right.suptitle("Feature maps of the first layer, in the order of its filters", fontsize=11)
    return figure


def _tiles(figure: Any, tiles: Array, rows: int = 2, **how: Any) -> Any:
    """Show small images in rows, without axes."""
    grid = figure.subplots(rows, len(tiles) // rows, squeeze=False)
    for axes, tile in zip(grid.flat, tiles):
        axes.imshow(tile, **how)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(MUTED)
    return grid


def plot_confusion(predicted: Array, labels: Array, first: int = 0) -> Any:
    """How many images of each digit were taken for which; class 0 is the digit `first`."""
    classes = int(labels.max()) + 1
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    figure, axes = plt.subplots(figsize=(5.2, 4.8), layout="constrained")
    axes.imshow(np.where(counts > 0, np.sqrt(counts), np.nan), cmap="YlOrBr", vmin=0)
    for row, column in zip(*np.nonzero(counts)):
        colour = "white" if row == column else INK
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=9, color=colour)
    digits = range(first, first + classes)
    axes.set_xticks(range(classes), digits)
    axes.set_yticks(range(classes), digits)
    axes.set(xlabel="predicted", ylabel="digit")
    axes.set_title(f"Test images: {np.trace(counts)} of {counts.sum()} right")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure

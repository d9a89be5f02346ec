"""The scripts in examples/ run, learn what they say, and leave their plots; their shared parts are right."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("rich", reason="needs rich")

EXAMPLES = Path(__file__).parents[1] / "examples"
PARTS = ("loss", "filters", "features", "confusion")
SCRIPTS = {
    "digits_autograd": ("autograd", "digits-autograd", PARTS),
    "digits_jax": ("jax", "digits-jax", PARTS),
    "digits_torch": ("torch", "digits-pytorch", PARTS),
    "transfer_digits": ("torch", "digits-transfer", ("loss", "confusion")),
}


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let examples import each other, as when they are run."""
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_learns(script: str, tmp_path: Path) -> None:
    framework, stem, parts = SCRIPTS[script]
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"needs {framework}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, EXAMPLES / f"{script}.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.findall(r"test accuracy (\d+\.\d+)%", done.stdout)[-1])
    assert accuracy >= 98, done.stdout
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path / f"{stem}-{part}.png" for part in parts)
    assert all(plot.stat().st_size > 5000 for plot in tmp_path.iterdir())


def test_an_example_explains_itself() -> None:
    script = EXAMPLES / "digits_autograd.py"
    pytest.importorskip("autograd", reason="needs autograd")
    command = [sys.executable, script, "--help"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=True)
    assert "handwritten digits" in done.stdout
    assert "--seed" in done.stdout


def test_with_and_without_convert_the_loss_is_the_same() -> None:
    """In float64: Adam divides by how large gradients are, so that one of mere rounding moves a weight like
    any other, and two runs in float32 drift apart with the order of their sums."""
    pytest.importorskip("torch", reason="needs torch")
    import digits
    import digits_torch
    import torch

    import fastconv.torch

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    batches = list(digits.load().train.batches(32, rng))[:20]
    curves = []
    for convert in (False, True):
        network = digits_torch.TorchNetwork(digits.first_weights(), convert=convert)
        network.model.double()
        assert isinstance(network.model.conv1, fastconv.torch.Conv2d) == convert
        curves.append([network.step(x.astype(np.float64), labels, 3e-3) for x, labels in batches])
    torch.set_num_threads(threads)
    assert len(curves[0]) == 20
    assert curves[0][-1] < 0.8 * curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-12)


# --- The shared parts -----------------------------------------------------------------------------------


def test_the_parts_of_the_data_have_no_image_in_common() -> None:
    import digits

    data = digits.load()
    parts = [data.train, data.valid, data.test]
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert all(part.x.dtype == np.float32 and part.x.shape[1:] == (1, 8, 8) for part in parts)
    pixels = [{image.tobytes() for image in part.x} for part in parts]
    assert not pixels[0] & (pixels[1] | pixels[2])
    assert not pixels[1] & pixels[2]
    again = digits.load()
    assert all(np.array_equal(a.x, b.x) for a, b in zip(parts, (again.train, again.valid, again.test)))
    assert not np.array_equal(digits.load(seed=1).train.x, data.train.x)


def test_classes_are_numbered_anew() -> None:
    import digits

    high = digits.load().of(5, 6, 7, 8, 9)
    assert set(high.test.labels) == {0, 1, 2, 3, 4}
    assert len(high.test) == np.sum(digits.load().test.labels >= 5)


def test_augmentation_moves_images_and_leaves_the_original() -> None:
    import digits

    x = np.zeros((50, 1, 8, 8), np.float32)
    x[:, :, 3:5, 3:5] = 1
    before = x.copy()
    moved = digits.augment(x, np.random.default_rng(0), noise=0)
    np.testing.assert_array_equal(x, before)
    assert moved.shape == x.shape
    assert moved.dtype == np.float32
    assert moved.min() >= 0
    assert moved.max() <= 1
    centres = [np.average(np.indices((8, 8)), axis=(1, 2), weights=np.array([m[0]] * 2)) for m in moved]
    assert np.all(np.abs(np.array(centres) - 3.5) < 1.0)
    assert np.std(centres) > 0.2
    still = digits.augment(x, np.random.default_rng(0), pixels=0, degrees=0, noise=0)
    np.testing.assert_allclose(still, x, atol=1e-6)


def test_adam_is_that_of_the_paper() -> None:
    import digits

    adam, weights = digits.Adam(), {"w": np.array([1.0, -2.0])}
    mean = square = np.zeros(2)
    expected = weights["w"]
    for step in range(1, 6):
        gradient = 2 * expected
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        weights = adam(weights, {"w": gradient}, 0.1)
        expected = expected - 0.1 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        np.testing.assert_allclose(weights["w"], expected, rtol=1e-5)


class Scripted:
    """A network whose validation loss is written down beforehand."""

    def __init__(self, losses: list[float]) -> None:
        self.losses, self.weights, self.epoch = losses, {"epoch": -1}, -1

    def step(self, x: Any, labels: Any, rate: float) -> float:
        return 0.0

    def logits(self, x: Any) -> Any:
        self.epoch += 1
        self.weights = {"epoch": self.epoch}
        return np.tile([np.log(np.expm1(self.losses[self.epoch])), 0], (len(x), 1))  # that loss for class 1

    def features(self, x: Any) -> Any:
        return x


def test_training_stops_early_with_the_best_weights() -> None:
    import digits

    part = digits.Images(np.zeros((4, 1, 8, 8), np.float32), np.ones(4, int))
    network = Scripted([3.0, 2.0, 2.5, 1.5, 1.6, 1.7, 1.8, 0.1])
    history = digits.fit(network, digits.Digits(part, part, part), epochs=8, patience=3, batch=2)
    np.testing.assert_allclose(history.valid, [3.0, 2.0, 2.5, 1.5, 1.6, 1.7, 1.8])
    assert history.best == 3
    assert network.weights == {"epoch": 3}

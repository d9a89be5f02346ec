"""Transfer learning: what a network learned from the digits 0 to 4 serves to tell 5 to 9 apart.

Its last layer is replaced and the rest frozen, so that only 5 * 513 numbers are learned anew.  With PyTorch,
its layers computed by fastconv.

    pip install "fastconv[torch,examples]"
    python examples/transfer_digits.py
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from digits import accuracy, arguments, first_weights, fit, load, plot_confusion, plot_losses, save
from digits_torch import TorchNetwork
from torch import nn


def replace_last_layer(network: TorchNetwork, classes: int) -> None:
    """Freeze all that there is, and put a new last layer in its place."""
    model = network.model.requires_grad_(False)
    model.linear = nn.Linear(model.linear.in_features, classes)
    network.optimizer = torch.optim.Adam(model.linear.parameters())


def main(argv: Sequence[str] | None = None) -> float:
    args = arguments(__doc__, argv)
    torch.manual_seed(args.seed)
    digits = load(args.seed)
    low, high = digits.of(0, 1, 2, 3, 4), digits.of(5, 6, 7, 8, 9)

    network = TorchNetwork(first_weights(classes=5, seed=args.seed))
    fit(network, low, epochs=args.epochs, seed=args.seed, title="digits 0 to 4")
    print(f"0 to 4: test accuracy {accuracy(network.logits(low.test.x), low.test.labels):.2%}")

    learned = {name: value.clone() for name, value in network.weights.items()}
    replace_last_layer(network, classes=5)
    print(f"5 to 9, new last layer: {accuracy(network.logits(high.test.x), high.test.labels):.2%}")
    history = fit(network, high, epochs=args.epochs, seed=args.seed, rate=1e-2, title="digits 5 to 9")
    for name, value in network.weights.items():
        assert name.startswith("linear") or torch.equal(value, learned[name]), f"{name} was not frozen"

    logits = network.logits(high.test.x)
    result = accuracy(logits, high.test.labels)
    print(f"transfer: test accuracy {result:.2%} ({len(high.test)} images), best epoch {history.best + 1}")
    title = f"Last layer learned anew: {result:.1%} of the digits 5 to 9 right"
    save(plot_losses(history, title), args.out / "digits-transfer-loss.png")
    save(
        plot_confusion(logits.argmax(1), high.test.labels, first=5),
        args.out / "digits-transfer-confusion.png",
    )
    print(f"plots: {args.out / 'digits-transfer'}-*.png")
    return result


if __name__ == "__main__":
    main()

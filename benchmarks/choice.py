"""How often `algorithm="auto"` is right: random layers, every algorithm timed, the choice compared.

Run as `python benchmarks/choice.py [--layers 300] [--seed 0] [--json out.json]`; prints the share of
layers on which the chosen algorithm is within 10% of the fastest, and the worst choices.
"""

import argparse
import json
import os
import random
import time

import numpy as np

import fastconv

ALGORITHMS = fastconv._core.algorithms()
CLOSE = 1.1


def random_layer(rng: random.Random) -> dict:
    """Return one layer as people use them: sizes log-uniform, kernels and strides by their frequency."""
    kind = rng.choices(("dense", "depthwise", "grouped"), (6, 2, 2))[0]
    kernel = rng.choices((1, 2, 3, 4, 5, 7, 11), (5, 1, 8, 1, 2, 2, 1))[0]
    kernel_size = rng.choice(((kernel, kernel),) * 6 + ((1, kernel), (kernel, 1)))
    dilation = rng.choices((1, 2), (6, 1))[0]
    stride = rng.choices((1, 2, 3), (7, 3, 1))[0]
    size = round(2 ** rng.uniform(0, 7.5))
    size = max(size, max(kernel_size) * dilation)
    channels = round(2 ** rng.uniform(0, 9.3))
    out_channels = round(2 ** rng.uniform(0, 9.3))
    groups = 1
    if kind == "depthwise":
        groups = channels = out_channels = max(2, channels)
    elif kind == "grouped":
        groups = rng.choice((2, 4, 8, 16, 32))
        channels, out_channels = (groups * max(1, c // groups) for c in (channels, out_channels))
    return {
        "batch": rng.choices((1, 2, 4, 16), (8, 1, 1, 1))[0],
        "channels": channels,
        "out_channels": out_channels,
        "groups": groups,
        "size": size,
        "kernel_size": kernel_size,
        "stride": stride,
        "dilation": dilation,
        "padding": rng.choice((0, None)),
        "layout": rng.choice(("NCHW", "NHWC")),
        "dtype": rng.choices(("float32", "float64"), (4, 1))[0],
    }


def flops(layer: dict) -> float:
    """Return roughly the operations of a layer, to leave out those that take seconds."""
    taps = layer["kernel_size"][0] * layer["kernel_size"][1]
    pixels = (layer["size"] / layer["stride"]) ** 2 * layer["batch"]
    return 2 * taps * layer["channels"] / layer["groups"] * layer["out_channels"] * pixels


def measure(layer: dict, rounds: int, prepared: bool) -> tuple[str, dict[str, float]]:
    """Return the automatic choice and seconds by algorithm."""
    rng = np.random.default_rng(0)
    height, width = layer["kernel_size"]
    padding = layer["padding"]
    if padding is None:
        padding = ((height - 1) * layer["dilation"] // 2, (width - 1) * layer["dilation"] // 2)
    shape = (layer["batch"], layer["channels"], layer["size"], layer["size"])
    if layer["layout"] == "NHWC":
        shape = (shape[0], shape[2], shape[3], shape[1])
    x = rng.standard_normal(shape).astype(layer["dtype"])
    weight = rng.standard_normal((layer["out_channels"], layer["channels"] // layer["groups"], height, width))
    weight = weight.astype(layer["dtype"])
    options = {k: layer[k] for k in ("stride", "dilation", "groups", "layout")} | {"padding": padding}
    calls = {}
    plan_of_all = fastconv.plan_conv2d(x.shape, weight, **options)
    for name in ALGORITHMS:
        try:
            plan = fastconv.plan_conv2d(x.shape, weight, algorithm=name, **options)
        except ValueError:
            continue
        if prepared:
            calls[name] = lambda plan=plan: plan(x)
        else:
            calls[name] = lambda name=name: fastconv.conv2d(x, weight, algorithm=name, **options)
    predicted = [entry for entry in plan_of_all.candidates() if entry["reason"] is None]
    chosen = min(predicted, key=lambda entry: entry["seconds" if prepared else "call_seconds"])["name"]
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            repeats = 1 + int(2e-4 / max(best[name], 1e-6)) if best[name] < 1 else 1
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / repeats)
    return chosen, best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prepared", action="store_true", help="plans rather than plain calls")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    fastconv.set_num_threads(1)
    rng = random.Random(arguments.seed)
    rows = []
    while len(rows) < arguments.layers:
        layer = random_layer(rng)
        if flops(layer) > 2e9:
            continue
        chosen, seconds = measure(layer, arguments.rounds, arguments.prepared)
        fastest = min(seconds, key=seconds.get)
        rows.append(
            {"layer": layer, "chosen": chosen, "seconds": seconds, "loss": seconds[chosen] / seconds[fastest]}
        )
    rows.sort(key=lambda row: -row["loss"])
    good = sum(row["loss"] <= CLOSE for row in rows)
    for row in rows[:25]:
        times = ", ".join(
            f"{name} {1e3 * s:.4g}" for name, s in sorted(row["seconds"].items(), key=lambda p: p[1])
        )
        print(f"{row['loss']:5.2f}  {row['chosen']:<10} {times} ms  {row['layer']}")
    print(f"{good} of {len(rows)} layers within 10% of the fastest algorithm ({100 * good / len(rows):.1f}%)")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()

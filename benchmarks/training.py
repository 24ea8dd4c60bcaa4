"""What a training step costs: ``python -m benchmarks.training``.

Trains the ``cpu`` recipe's network on random images three ways, in turns so that drift hits all
alike: through the training pipeline; bare, on one batch that lies ready in memory; and bare with
Keras's own layers, without `fer.nn.kernels`. Timed from the end of each pass's first step, so what
`fit` does before it is left out.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fer._files import write_json
from fer._machine import machine
from fer.labels import LABELS
from fer.nn import fit, model
from fer.nn.augment import training_batches
from fer.nn.dataset import SIDE, Fer2013
from fer.nn.kernels import speed_up
from train.recipes import CPU


def _random_images(count: int) -> Fer2013:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(LABELS), count)
    return Fer2013(
        rng.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8),
        labels,
        np.full(count, "Training"),
        np.array([str(index) for index in range(count)]),
        np.eye(len(LABELS), dtype=np.float32)[labels],
    )


class _Clock(keras.callbacks.Callback):
    """When each step ended: what `fit` does before the first is not the pipeline's."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.perf_counter())


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--steps", type=int, default=13, help="steps of each turn")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("training.json"))
    options = parser.parse_args()
    batch, size = CPU.batch_size, CPU.tile_size
    networks = {}
    for name in ("sped up", "plain"):
        networks[name] = model.build(size, init="none", dropout=CPU.dropout)
        if name == "sped up":
            speed_up(networks[name])
        fit.compile_stage(networks[name], CPU, CPU.stages[-1], options.steps)
    images = _random_images(batch * options.steps)
    pipeline = training_batches(images, size, batch, CPU.augmentation, seed=0)
    ready = next(iter(pipeline))
    bare = tf.data.Dataset.from_tensors(ready).repeat(options.steps)
    ways = {
        "pipeline": (networks["sped up"], pipeline),
        "bare": (networks["sped up"], bare),
        "plain": (networks["plain"], bare),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.turns + 1):
        for name, (network, batches) in ways.items():
            clock = _Clock()
            network.fit(batches, verbose=0, shuffle=False, callbacks=[clock])
            if turn:  # the first turn traces
                seconds[name].append(clock.ends[-1] - clock.ends[0])
                print(f"turn {turn}: {name} {seconds[name][-1]:.2f} s")
    rates = {
        name: batch * (options.steps - 1) / statistics.median(values)
        for name, values in seconds.items()
    }
    ratio = rates["pipeline"] / rates["bare"]
    for name, rate in rates.items():
        print(f"{name:<9}{rate:>7.1f} images/s")
    gain = rates["bare"] / rates["plain"]
    print(f"pipeline over bare {ratio:.3f}, bare over plain {gain:.3f}")
    report = {
        "machine": machine(),
        "tile_size": size,
        "batch_size": batch,
        "images_per_second": rates,
        "pipeline_over_bare": ratio,
        "bare_over_plain": gain,
    }
    write_json(options.json, report)


if __name__ == "__main__":
    _main()

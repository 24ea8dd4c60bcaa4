"""Trains the paper's Table 9 systems alike: ``python -m train.compare --data PATH --budget N``."""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer._stderr import silent_stderr

with silent_stderr():
    import keras
    import numpy as np
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray

    from fer._files import replacing, write_json
    from fer.displays import AccuracySizeDisplay
    from fer.metrics import Accuracy
    from fer.nn import dataset, networks
    from fer.nn import model as models
    from fer.nn.augment import training_batches
    from fer.nn.convert import convert
    from fer.nn.dataset import SIDE, Fer2013, thinned
    from fer.nn.fit import BEST, Recipe, TrainingError, compile_stage, fit, read_history
    from fer.nn.networks import SYSTEMS, System
    from train.command import (
        add_data_options,
        add_exclude_option,
        check_settings,
        new_parser,
        run,
        start_of,
        training_images,
    )
    from train.predict import logits_of
    from train.recipes import CPU

EPILOG = f"""systems: {", ".join(system.slug for system in SYSTEMS)}

An interrupted comparison goes on when it is started again with the same options.

examples:
  python -m train.compare --data fer2013.zip --votes ferplus_votes.csv --budget 100000
  python -m train.compare --data fer2013.zip --budget 50000 --systems efficientnetb0,resnet50
  python -m train.compare --data fer2013.csv --budget 50000 --init start.keras --json > table.json
"""

_WARM_UP, _TIMED = 5, 60


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.compare",
        "Train the systems that the paper's Table 9 compares on the same images with "
        "the same recipe, and print size, latency and PublicTest accuracy of each.",
        EPILOG,
    )
    add_data_options(parser)
    add_exclude_option(parser)
    parser.add_argument(
        "--budget",
        type=int,
        required=True,
        metavar="N",
        help="training images that each system sees, repeats counted, to the nearest whole pass",
    )
    parser.add_argument(
        "--systems", default="all", metavar="all|A,B", help="which to compare (default: all)"
    )
    parser.add_argument(
        "--init",
        default="imagenet",
        metavar="{imagenet,none,PATH.keras}",
        help="start from ImageNet weights where Keras can download them, from random ones, or "
        "EfficientNetB0 from a feature extractor or checkpoint (default: imagenet)",
    )
    parser.add_argument(
        "--tile-size", type=int, default=96, metavar="T", help="side of the tiles (default: 96)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    # With --json, standard output is the JSON and nothing else.
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        report = _compare(options)
        failed = [row["name"] for row in report["rows"] if "error" in row]
    print(json.dumps(report, indent=2) if options.json else "\n" + table(report["rows"]))
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(report['rows'])} systems failed: {', '.join(failed)}"
        )


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    systems = _chosen(options.systems)
    for name, least in (("budget", 1), ("tile_size", SIDE)):
        if getattr(options, name) < least:
            raise ValueError(
                f"{name.replace('_', '-')} must be at least {least}, received "
                f"{getattr(options, name)}"
            )
    for system in systems:
        if options.tile_size < system.least_tile:
            raise ValueError(
                f"tile-size must be at least {system.least_tile} for {system.slug}, received "
                f"{options.tile_size}"
            )
    if options.init not in models.STARTS:
        # A file that cannot serve is found now, not when its row comes.
        models.build(options.tile_size, init=options.init, dropout=CPU.dropout)
    data = dataset.load(options.data, votes=options.votes)
    training, _ = training_images(data, options.exclude)
    epochs = max(1, round(options.budget / len(training)))
    if options.budget < len(training):
        training = thinned(training, options.budget)
    protocol = Protocol(
        training,
        data.split("PublicTest"),
        recipe(len(training), epochs, options.tile_size),
        options.init,
        options.seed,
    )
    settings = {
        "budget": options.budget,
        "init": start_of(options.init),
        "seed": options.seed,
        "votes": options.votes is not None,
        "class_counts": training.class_counts(),
        "recipe": dataclasses.asdict(protocol.recipe),
    }
    check_settings(options.out / "settings.json", settings)
    rows = []
    timeout = 10.0
    for index, system in enumerate(systems, 1):
        print(f"\n{index}/{len(systems)} {system.name}")
        row = _row(system, protocol, options.out / system.slug, timeout)
        if row.get("note"):
            timeout = networks.AGAIN
        rows.append(row)
    # Those of an earlier call with other --systems belong to the same table.
    chosen = {row["slug"] for row in rows}
    for system in SYSTEMS:
        before = options.out / system.slug / "row.json"
        if system.slug not in chosen and before.exists():
            rows.append(json.loads(before.read_text(encoding="utf-8")))
    order = [system.slug for system in SYSTEMS]
    rows.sort(key=lambda row: order.index(row["slug"]))
    report = {
        "settings": settings,
        "images_seen": protocol.images_seen,
        "epochs": epochs,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "rows": rows,
    }
    _write(report, options.out)
    return report


@dataclass(frozen=True)
class Protocol:
    """What is the same for every system.

    Attributes:
        training: Training images, without leaks.
        validation: The images that are scored.
        recipe: The recipe, of one stage.
        init: Start of the networks, as on the command line.
        seed: Seed of weights, order and augmentation.
    """

    training: Fer2013
    validation: Fer2013
    recipe: Recipe
    init: str
    seed: int

    @property
    def images_seen(self) -> int:
        """Training images that each system sees, repeats counted."""
        batch = self.recipe.batch_size
        return len(self.training) // batch * batch * self.recipe.stages[0].epochs


def recipe(images: int, epochs: int, tile_size: int) -> Recipe:
    """Returns the recipe of the shipped model in one stage, made to fit fewer steps.

    Args:
        images: Number of training images.
        epochs: Number of passes over them.
        tile_size: Side of the tiles.
    """
    stage = dataclasses.replace(CPU.stages[-1], epochs=epochs, tile_size=None)
    whole = dataclasses.replace(CPU, tile_size=tile_size, stages=(stage,))
    return whole.for_images(images)


def _chosen(text: str) -> tuple[System, ...]:
    known = [system.slug for system in SYSTEMS]
    wanted = known if text == "all" else [slug.strip() for slug in text.split(",")]
    unknown = [slug for slug in wanted if slug not in known]
    if unknown:
        raise ValueError(f"systems must be all or of {known}, received {unknown}")
    return tuple(system for system in SYSTEMS if system.slug in wanted)


def _row(system: System, protocol: Protocol, folder: Path, timeout: float) -> dict[str, Any]:
    """Returns a system's row: the one that is there, or a new one, or why there is none."""
    path = folder / "row.json"
    if path.exists():
        print(f"done before: {path}")
        return json.loads(path.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.clear_session(free_memory=True)
    try:
        row = _measured(system, protocol, folder, timeout)
    except Exception as error:  # one system must not end the comparison
        reason = (str(error).strip().splitlines() or [""])[0]
        print(f"failed: {type(error).__name__}: {reason}")
        return {
            "slug": system.slug,
            "name": system.name,
            "error": f"{type(error).__name__}: {reason}"[:300],
        }
    write_json(path, row)
    for checkpoint in folder.glob("last-*.keras"):  # four times the network, only for resuming
        checkpoint.unlink()
    return row


def _measured(system: System, protocol: Protocol, folder: Path, timeout: float) -> dict[str, Any]:
    about = folder / "start.json"

    def start() -> keras.Model:
        built = networks.build(
            system,
            protocol.recipe.tile_size,
            init=protocol.init,
            dropout=protocol.recipe.dropout,
            timeout=timeout,
        )
        print(f"start: {built.start}" + (f"; {built.missing}" if built.missing else ""))
        # A run that is resumed does not build, and so could not say.
        write_json(about, {"start": built.start, "note": built.missing})
        return built.model

    stage = dataclasses.replace(protocol.recipe.stages[0], train_backbone=system.train_backbone)
    own = dataclasses.replace(protocol.recipe, stages=(stage,))
    train = _train_vectors if system.features is None else _train_tiles
    model, seconds, logits = train(folder, own, protocol, start)
    network = networks.classifier(model)
    content = convert(network)
    with replacing(folder / "model.tflite") as temporary:
        temporary.write_bytes(content)
    right = logits.argmax(axis=1) == protocol.validation.labels
    return {
        "slug": system.slug,
        "name": system.name,
        **json.loads(about.read_text(encoding="utf-8")),
        "parameters": network.count_params(),
        "bytes": len(content),
        "latency_ms": latency(content),
        "accuracy": dataclasses.asdict(Accuracy.of(right)),
        "minutes": seconds / 60,
    }


Trained = tuple[keras.Model, float, NDArray[np.float32]]
"""The network, seconds of training, and the validation images' logits of ``fer2013``, (N, 7)."""


def _train_tiles(
    folder: Path, own: Recipe, protocol: Protocol, start: Callable[[], keras.Model]
) -> Trained:
    best = fit(
        folder,
        own,
        protocol.training,
        protocol.validation,
        start=start,
        seed=protocol.seed,
        resume=any(folder.glob("last-*.keras")),
    )
    model = models.load_checkpoint(best)
    seconds = sum(float(row["seconds"]) for row in read_history(folder))
    return model, seconds, logits_of(model, protocol.validation.images)["fer2013"]


def _train_vectors(
    folder: Path, own: Recipe, protocol: Protocol, start: Callable[[], keras.Model]
) -> Trained:
    """Trains on features of the same augmented images; keeps the last epoch's averaged weights."""
    keras.utils.set_random_seed(protocol.seed)
    model = start()
    batches = training_batches(
        protocol.training, SIDE, own.batch_size, own.augmentation, protocol.seed
    )

    def described(tiles: tf.Tensor, *targets: Any) -> tuple[Any, ...]:
        grey = tf.cast(tf.round(tiles[..., 0]), tf.uint8)
        vectors = tf.numpy_function(networks.describe, [grey], tf.float32, stateful=False)
        return tf.ensure_shape(vectors, (own.batch_size, networks.VECTOR)), *targets

    compile_stage(model, own, own.stages[0], len(protocol.training) // own.batch_size)
    clock = folder / "seconds.json"
    began = time.monotonic()
    spent = json.loads(clock.read_text(encoding="utf-8")) if clock.exists() else 0.0
    model.fit(
        batches.map(described, num_parallel_calls=2).prefetch(2),
        epochs=own.stages[0].epochs,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: write_json(clock, spent + time.monotonic() - began)
            ),
            keras.callbacks.BackupAndRestore(folder / "backup"),
        ],
        shuffle=False,
        verbose=2,
    )
    models.save(model, folder / BEST)
    vectors = networks.describe(protocol.validation.images)
    logits = model.predict(vectors, verbose=0)["fer2013"]
    return model, json.loads(clock.read_text(encoding="utf-8")), logits


def latency(content: bytes) -> float:
    """Returns the median milliseconds of one inference on one thread, LiteRT, batch 1."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    classify = interpreter.get_signature_runner("serving_default")
    shape = classify.get_input_details()["image"]["shape"]
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    times = []
    for _ in range(_WARM_UP + _TIMED):
        started = time.perf_counter()
        classify(image=image)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[_WARM_UP:]))


_HEADER = ("system", "start", "parameters (M)", "size (MB)", "latency (ms)",
           "PublicTest accuracy (95% interval)", "training (min)")  # fmt: skip


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return (row["name"], f"failed: {row['error']}", "", "", "", "", "")
    accuracy = row["accuracy"]
    return (
        row["name"],
        row["start"],
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['latency_ms']:.2f}",
        f"{accuracy['value']:.2%} ({100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f})",
        f"{row['minutes']:.1f}",
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the comparison as a Markdown table whose columns also line up in a terminal."""
    lines = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _write(report: dict[str, Any], out: Path) -> None:
    write_json(out / "compare.json", report)
    tile = report["settings"]["recipe"]["tile_size"]
    text = (
        f"{table(report['rows'])}\n\n"
        f"Every system saw {report['images_seen']} training images in {report['epochs']} epochs, "
        f"with the same augmentation and optimizer, as tiles of {tile} pixels, seed "
        f"{report['settings']['seed']}. Accuracy: PublicTest, which also chose the epoch, but for "
        "LBP and HOG, where it is the last. Size: float32 LiteRT file. Latency: median of "
        f"{_TIMED}, LiteRT on one thread, batch 1, on {report['machine']['platform']} "
        f"({report['machine']['cores']} cores), without computing LBP and HOG.\n"
    )
    with replacing(out / "compare.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    done = [row for row in report["rows"] if "error" not in row]
    if done:
        AccuracySizeDisplay(
            [row["name"] for row in done],
            [row["bytes"] / 1e6 for row in done],
            [Accuracy(**row["accuracy"]) for row in done],
        ).save(out / "compare.png")


if __name__ == "__main__":
    run(_main, "finished rows are kept: start it again to go on")

"""What each lever of the recipe is worth: ``python -m train.ablate --data PATH --out DIR``."""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fer._files import replacing, write_json
from fer._stderr import silent_stderr
from fer.metrics import Accuracy

with silent_stderr():
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.fit import Recipe, Stage, fit, read_history
    from train.command import (
        add_data_options,
        add_exclude_option,
        check_settings,
        new_parser,
        run,
        start_of,
        training_images,
    )
    from train.recipes import CPU

EPILOG = """examples:
  python -m train.ablate --data fer2013.zip --votes ferplus_votes.csv --init start.keras \\
      --out runs/ablation
  python -m train.ablate --data fer2013.zip --votes ferplus_votes.csv --init start.keras \\
      --levers recipe --seeds 0,1,2 --out runs/ablation
"""

TILE_SIZE = 64

Lever = Callable[[Recipe], Recipe]


def _changed(**fields: Any) -> Lever:
    return lambda recipe: dataclasses.replace(recipe, **fields)


def _augmented(**fields: Any) -> Lever:
    def change(recipe: Recipe) -> Recipe:
        augmentation = dataclasses.replace(recipe.augmentation, **fields)
        return dataclasses.replace(recipe, augmentation=augmentation)

    return change


def _at_rate(factor: float) -> Lever:
    def change(recipe: Recipe) -> Recipe:
        (stage,) = recipe.stages
        faster = dataclasses.replace(stage, learning_rate=factor * stage.learning_rate)
        return dataclasses.replace(recipe, stages=(faster,))

    return change


LEVERS: dict[str, Lever] = {
    "recipe": lambda recipe: recipe,
    "without FER+ head": _changed(ferplus_weight=0.0),
    "FER+ head twice as heavy": _changed(ferplus_weight=2.0),
    "without label smoothing": _changed(label_smoothing=0.0),
    "without weight averaging": _changed(ema=0.0),
    "without mixup": _augmented(mixup=0.0),
    "mixup of every image": _augmented(mixup_share=1.0),
    "without erasing": _augmented(erase=0.0),
    "half of the images erased": _augmented(erase=0.5),
    "without changes for photos": _augmented(sharpness=0.0, resample=0.0, gamma=0.0),
    "noise": _augmented(noise=15.0),
    "half the learning rate": _at_rate(0.5),
    "twice the learning rate": _at_rate(2.0),
    "tiles of 96": lambda recipe: dataclasses.replace(recipe, tile_size=96),
}
"""Changes of the `cpu` recipe, one at a time."""


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.ablate",
        "Train the cpu recipe on a small budget, once as it is and once with each "
        "lever changed, and print one table. Finished rows are kept: start it again to go on.",
        "levers:\n" + "\n".join(f"  {name}" for name in LEVERS) + f"\n\n{EPILOG}",
    )
    add_data_options(parser)
    add_exclude_option(parser)
    parser.add_argument("--init", default="imagenet", metavar="{imagenet,none,PATH.keras}")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--levers", default="all", metavar="all|A,B")
    parser.add_argument("--seeds", default="0", metavar="A,B", help="seeds (default: 0)")
    parser.add_argument("--images", type=int, default=8000, help="training images (default: 8000)")
    parser.add_argument("--epochs", type=int, default=4, help="(default: 4)")
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    names = (
        list(LEVERS)
        if options.levers == "all"
        else [name.strip() for name in options.levers.split(",")]
    )
    for name in names:
        if name not in LEVERS:
            raise ValueError(f"levers must be all or of {list(LEVERS)}, received {name!r}")
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError as error:
        raise ValueError(f"seeds must be whole numbers, received {options.seeds!r}") from error
    data = dataset.load(options.data, votes=options.votes)
    training, _ = training_images(data, options.exclude)
    training = dataset.thinned(training, options.images)
    settings = {
        "class_counts": training.class_counts(),
        "epochs": options.epochs,
        "init": start_of(options.init),
        "votes": options.votes is not None,
    }
    check_settings(options.out / "settings.json", settings)
    validation = data.split("PublicTest")
    stage = Stage("whole", options.epochs, True, learning_rate=1e-3, schedule="cosine")
    base = dataclasses.replace(CPU, tile_size=TILE_SIZE, stages=(stage,)).for_images(len(training))
    rows = [(name, seed) for name in names for seed in seeds]
    for index, (name, seed) in enumerate(rows, 1):
        folder = options.out / f"{name.replace(' ', '-')}-{seed}"
        done = folder / "row.json"
        if done.exists():
            continue
        print(f"{index} of {len(rows)}: {name}, seed {seed}")
        folder.mkdir(parents=True, exist_ok=True)
        recipe = LEVERS[name](base)
        fit(
            folder,
            recipe,
            training,
            validation,
            start=partial(
                models.build, recipe.tile_size, init=options.init, dropout=recipe.dropout
            ),
            seed=seed,
            resume=any(folder.glob("last-*.keras")),
        )
        epochs = read_history(folder)
        # The last epoch's, which nobody chose.
        right = round(float(epochs[-1]["val_accuracy"]) * len(validation))
        row = {
            "lever": name,
            "seed": seed,
            "accuracy": dataclasses.asdict(Accuracy.of(np.arange(len(validation)) < right)),
            "minutes": sum(float(epoch["seconds"]) for epoch in epochs) / 60,
        }
        write_json(done, row)
        for checkpoint in folder.glob("*.keras"):
            checkpoint.unlink()
        keras.backend.clear_session()
    text = table(options.out)
    with replacing(options.out / "ablation.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(text)


def table(out: Path) -> str:
    """Returns the finished rows of an ablation as a Markdown table, levers in their order.

    A lever that was run with several seeds has the mean, and their standard deviation.
    """
    finished = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*/row.json")]
    lines = [
        "| lever | seeds | PublicTest | 95% interval of one | spread of seeds | minutes each |",
        "|---|---|---|---|---|---|",
    ]
    for lever in LEVERS:
        rows = [row for row in finished if row["lever"] == lever]
        if not rows:
            continue
        values = [100 * row["accuracy"]["value"] for row in rows]
        spread = f"{statistics.stdev(values):.1f}" if len(values) > 1 else ""
        half = statistics.mean(
            50 * (row["accuracy"]["high"] - row["accuracy"]["low"]) for row in rows
        )
        lines.append(
            f"| {lever} | {len(rows)} | {statistics.mean(values):.1f}% | ± {half:.1f} | {spread} "
            f"| {statistics.mean(row['minutes'] for row in rows):.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(_main, "finished rows are kept: start it again to go on")

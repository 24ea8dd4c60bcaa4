"""Trains a model: ``python -m train --recipe cpu --data fer2013.zip --out runs/cpu``."""

import argparse
import dataclasses
import importlib.metadata
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from fer._stderr import silent_stderr

with silent_stderr():
    from fer._files import write_json
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.dataset import thinned
    from fer.nn.fit import HISTORY, Recipe, TrainingError, best_row, fit, read_history
    from train import distill
    from train.command import (
        add_data_options,
        add_exclude_option,
        fingerprint,
        new_parser,
        run,
        training_images,
    )
    from train.recipes import RECIPES

EPILOG = """examples:
  python -m train --recipe cpu --data fer2013.zip --votes ferplus_votes.csv --out runs/cpu
  python -m train --recipe cpu --data fer2013.csv --init start.keras --out runs/warm
  python -m train --recipe cpu --data fer2013.zip --votes ferplus_votes.csv --out runs/cpu --resume
  python -m train --recipe cpu --data fer2013.zip --votes ferplus_votes.csv \\
      --init runs/cpu/best.keras --teacher runs/cpu/best.keras --out runs/second
  python -m train --recipe smoke --data sample.csv --init none --out runs/smoke
"""


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train",
        "Train EfficientNetB0 on FER2013 in two stages. Images that leak from the "
        "test splits into Training are found and left out.",
        EPILOG,
    )
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="cpu")
    add_data_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder")
    parser.add_argument(
        "--init",
        default="imagenet",
        metavar="{imagenet,none,PATH.keras}",
        help="start from ImageNet weights (downloaded by Keras), from random ones, or from a "
        "feature extractor or checkpoint (default: imagenet)",
    )
    add_exclude_option(parser)
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.keras",
        help="learn from what these checkpoints answer, besides the labels (distillation)",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of every stage")
    parser.add_argument(
        "--images", type=int, metavar="N", help="take about N training and validation images"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    recipe = RECIPES[options.recipe]
    if options.epochs is not None:
        recipe = recipe.with_epochs(options.epochs)
    config_path = options.out / "config.json"
    begun = any(options.out.glob("last-*.keras"))
    if begun and not options.resume:
        raise ValueError(
            f"{options.out} holds a run already: add --resume, or choose another --out"
        )
    if options.resume and not begun:
        raise TrainingError(f"nothing to resume in {options.out}; start without --resume")

    data = dataset.load(options.data, votes=options.votes)
    print("images per class:", ", ".join(f"{k} {n}" for k, n in data.class_counts().items()))
    training, audit = training_images(data, options.exclude)
    dropped = len(data.split("Training")) - len(training)
    validation = data.split("PublicTest")
    if options.images is not None:
        training, validation = (thinned(part, options.images) for part in (training, validation))
        recipe = dataclasses.replace(recipe, max_images=options.images)
    elif recipe.max_images:
        training, validation = (thinned(part, recipe.max_images) for part in (training, validation))
    if recipe.max_images:
        print(f"taking {len(training)} and {len(validation)} images of them")
    recipe = recipe.for_images(len(training))
    config = {
        "recipe": {"name": options.recipe, **dataclasses.asdict(recipe)},
        "init": Path(options.init).name,
        "seed": options.seed,
        "git_sha": _git_sha(),
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        "training_images": len(training),
        "dropped_images": dropped,
        "class_counts": training.class_counts(),
        "validation_images": len(validation),
        "votes": options.votes is not None,
        "teachers": [fingerprint(path) for path in options.teacher],
    }
    if options.resume:
        _check_same_recipe(json.loads(config_path.read_text(encoding="utf-8")), config)
    else:
        write_json(config_path, config)
        write_json(options.out / "audit.json", audit.to_dict())
    targets = distill.targets(training, options.teacher, options.out) if options.teacher else None
    started = time.monotonic()
    best = fit(
        options.out,
        recipe,
        training,
        validation,
        start=partial(models.build, recipe.tile_size, init=options.init, dropout=recipe.dropout),
        seed=options.seed,
        resume=options.resume,
        targets=targets,
    )
    minutes = (time.monotonic() - started) / 60
    epochs = read_history(options.out)
    metrics = {
        "best": best_row(epochs, recipe),
        "epochs": epochs,
        "seed": options.seed,
        "git_sha": config["git_sha"],
        "peak_memory_gib": _peak_memory_gib(),
    }
    write_json(options.out / "metrics.json", metrics)
    print(f"done in {minutes:.1f} minutes: {best}; history in {options.out / HISTORY}")
    print(f"next: python -m train.evaluate --model {best} --data {options.data}")


def _check_same_recipe(before: dict[str, Any], now: dict[str, Any]) -> None:
    # A field that the run's version did not have yet counts as its default.
    recipe = dataclasses.asdict(Recipe.from_dict(before["recipe"]))
    before = {**before, "recipe": {"name": before["recipe"]["name"], **recipe}}
    for key in ("recipe", "seed", "votes", "class_counts", "teachers"):
        if now[key] != before.get(key, now[key]):
            raise ValueError(
                f"--resume: {key} differs from the run's config.json; use the same options"
            )


def _peak_memory_gib() -> float | None:
    """Returns the most memory that this process had so far; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**3 if sys.platform == "darwin" else 1024**2), 3)


def _git_sha() -> str | None:
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    run(_main, "finished epochs are kept: go on with --resume")

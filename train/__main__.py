"""Trains a model: ``python -m train --recipe cpu --data fer2013.zip --out runs/cpu``."""

import argparse
import dataclasses
import importlib.metadata
import json
import subprocess
import time
from functools import partial
from pathlib import Path

from fer._stderr import silent_stderr

with silent_stderr():
    from fer.nn import dataset, leaks
    from fer.nn import model as models
    from fer.nn.dataset import thinned
    from fer.nn.fit import HISTORY, TrainingError, fit, read_history
    from train.command import add_data_options, run, write_json
    from train.recipes import RECIPES

EPILOG = """examples:
  python -m train --recipe cpu --data fer2013.zip --votes ferplus_votes.csv --out runs/cpu
  python -m train --recipe cpu --data fer2013.csv --init start.keras --out runs/warm
  python -m train --recipe cpu --data fer2013.zip --votes ferplus_votes.csv --out runs/cpu --resume
  python -m train --recipe smoke --data sample.csv --init none --out runs/smoke
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train EfficientNetB0 on FER2013 in two stages. Images that leak from the "
        "test splits into Training are found and left out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    parser.add_argument(
        "--exclude",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="names of further images to leave out of training, one a line",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of every stage")
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
    audit = leaks.audit(data)
    whole = data.split("Training")
    drops = audit.training_drops()
    for path in options.exclude:
        names = leaks.read_names(path)
        found = len(names & set(whole.names.tolist()))
        if not found:
            raise ValueError(
                f"exclude: {path} names none of the training images, such as {whole.names[0]}"
            )
        print(f"{path} names {found} training images")
        drops |= names
    training = leaks.exclude(whole, drops)
    leaks.require_all_classes(training)
    print(
        f"training on {len(training)} of {len(whole)} images: the others are duplicates or excluded"
    )
    validation = data.split("PublicTest")
    if recipe.max_images:
        training, validation = (thinned(part, recipe.max_images) for part in (training, validation))
        print(f"the recipe takes {len(training)} and {len(validation)} images of them")
    config = {
        "recipe": {"name": options.recipe, **dataclasses.asdict(recipe)},
        "init": Path(options.init).name,
        "seed": options.seed,
        "git_sha": _git_sha(),
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        "training_images": len(training),
        "dropped_images": len(whole) - len(training),
        "class_counts": training.class_counts(),
        "validation_images": len(validation),
        "votes": options.votes is not None,
    }
    if options.resume:
        _check_same_recipe(json.loads(config_path.read_text(encoding="utf-8")), config)
    else:
        write_json(config_path, config)
        write_json(options.out / "audit.json", audit.to_dict())
    started = time.monotonic()
    best = fit(
        options.out,
        recipe,
        training,
        validation,
        start=partial(models.build, recipe.tile_size, init=options.init, dropout=recipe.dropout),
        seed=options.seed,
        resume=options.resume,
    )
    minutes = (time.monotonic() - started) / 60
    epochs = read_history(options.out)
    metrics = {
        "best": max(epochs, key=lambda row: float(row["val_accuracy"])),
        "epochs": epochs,
        "seed": options.seed,
        "git_sha": config["git_sha"],
    }
    write_json(options.out / "metrics.json", metrics)
    print(f"done in {minutes:.1f} minutes: {best}; history in {options.out / HISTORY}")
    print(f"next: python -m train.evaluate --model {best} --data {options.data}")


def _check_same_recipe(before: dict[str, object], now: dict[str, object]) -> None:
    for key in ("recipe", "seed", "votes", "class_counts"):
        # Through JSON, where a tuple is a list.
        if json.loads(json.dumps(now[key])) != before[key]:
            raise ValueError(
                f"--resume: {key} differs from the run's config.json; use the same options"
            )


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
    run(_main)

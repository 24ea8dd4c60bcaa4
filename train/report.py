"""Writes a run's report as one HTML file: ``python -m train.report runs/cpu --data PATH``."""

import argparse
import json
from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from fer._files import replacing
from fer._stderr import silent_stderr
from fer.displays import Display, ReliabilityDisplay, TrainingCurvesDisplay
from fer.labels import LABELS
from fer.metrics import Accuracy
from fer.spec import VIEWS
from train import paper

with silent_stderr():
    from fer.nn import dataset
    from fer.nn.dataset import Fer2013
    from fer.nn.fit import BEST, HISTORY, Recipe, best_row, read_history
    from train.command import add_data_options, new_parser, run
    from train.scores import score_tiles

EPILOG = """examples:
  python -m train.report runs/cpu --data fer2013.zip
  python -m train.report runs/cpu --data fer2013.zip --votes ferplus_votes.csv
  python -m train.report runs/paper --data fer2013.csv --split PrivateTest --out private.html

The report shows images of FER2013: keep it for yourself, they are not ours to publish.
"""

SAMPLES = 8
"""Sample images per class."""

MISTAKES = 24
"""Wrong answers shown."""

_INK = "#010203"  # a colour that no display uses: it stands for the reader's text colour
_SVG_STYLE = (
    "<style>svg{color:#1b1f24}"
    "@media screen and (prefers-color-scheme:dark){svg{color:#d5dae1}}</style>"
)


@dataclass(frozen=True)
class Stage:
    """A stage of the run, as far as it came.

    Attributes:
        name: Its name in the recipe.
        summary: Its settings in words.
        planned: Epochs of the recipe, or None where the recipe does not have the stage.
        rows: Rows of ``history.csv``, one an epoch.
        curves: Accuracy and loss as a data URI, empty before the first epoch.
        best: The row with the highest validation accuracy, or None before the first epoch.
        step: The paper's step that is like it.
    """

    name: str
    summary: str
    planned: int | None
    rows: list[dict[str, str]]
    curves: str
    best: dict[str, str] | None
    step: paper.Step


@dataclass(frozen=True)
class Mistake:
    """An image that the network is wrong about.

    Attributes:
        tile: The image as a data URI.
        name: Name of the image.
        true: Its label.
        predicted: The network's label.
        confidence: The network's confidence in that, in [0, 1].
        votes: Its FER+ votes in words, empty where there are none.
    """

    tile: str
    name: str
    true: str
    predicted: str
    confidence: float
    votes: str


def write_report(
    folder: Path, data: Path, votes: Path | None, view: str, split: str, out: Path
) -> None:
    """Scores the best network of a run and writes the report.

    Args:
        folder: Run folder of ``python -m train``, of a run that has ended or goes on.
        data: FER2013 in any form.
        votes: FER+ votes, shown beside the mistakes, or None.
        view: Label view of the network.
        split: Split to score.
        out: HTML file to write.

    Raises:
        ValueError: If the folder is not of a run with at least one epoch.
        fer.nn.dataset.DatasetError: If the data is malformed or has no such split.
        fer.nn.model.ModelError: If the network cannot be loaded or has no such view.
    """
    config, rows = _read_run(folder)
    whole = dataset.load(data, votes=votes)
    scored = whole.split(split)
    # `Any`, as the values are what stands in the JSON of `train.evaluate`.
    scores: Any
    scores, probabilities = score_tiles(folder / BEST, data, split, view, None)
    stages = _stages(config, rows)
    planned = sum(stage.planned or 0 for stage in stages)
    bins = scores["reliability"]
    reliability = ReliabilityDisplay(
        bins["confidence"], bins["accuracy"], bins["count"], scores["ece"], f"{split}, view {view}"
    )
    sampled = "Training" if np.any(whole.splits == "Training") else split
    page = _template().render(
        name=folder.resolve().name,
        labels=LABELS,
        paper=paper,
        config=config,
        settings=_settings(config),
        audit=_read_json(folder / "audit.json") if (folder / "audit.json").exists() else None,
        stages=stages,
        epochs=len(rows),
        planned=planned,
        # The command writes metrics.json last; a run that was shortened ends without it.
        finished=(folder / "metrics.json").exists() or len(rows) >= planned,
        hours=sum(float(row["seconds"]) for row in rows) / 3600,
        best=best_row(rows, Recipe.from_dict(config["recipe"])),
        split=split,
        view=view,
        scores=scores,
        accuracies={
            key: Accuracy(**scores[key]) if scores[key] else None
            for key in scores
            if key.startswith("accuracy")
        },
        shares=np.array(scores["confusion"])
        / np.maximum(np.sum(scores["confusion"], axis=1), 1)[:, None],
        reliability=_svg(reliability),
        counts=_class_counts(whole, config),
        sampled=sampled,
        samples=_samples(whole.split(sampled)),
        mistakes=_mistakes(scored, probabilities),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _read_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Returns config.json and the history of a run that has something to report."""
    for name in ("config.json", HISTORY, BEST):
        if not (folder / name).is_file():
            raise ValueError(
                f"run must be a folder of `python -m train` with at least one finished epoch, "
                f"received {folder}: it has no {name}"
            )
    config, rows = _read_json(folder / "config.json"), read_history(folder)
    wanted = ("recipe", "training_images", "dropped_images", "class_counts")
    missing = [name for name in wanted if name not in config]
    if missing:
        raise ValueError(f"{folder / 'config.json'} is not of `python -m train`: no {missing}")
    if not rows:
        raise ValueError(f"{folder / HISTORY} has no epoch yet")
    return config, rows


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return values


def _stages(config: dict[str, Any], rows: list[dict[str, str]]) -> list[Stage]:
    recipe = config["recipe"]
    settings = {stage["name"]: stage for stage in recipe["stages"]}
    stages = []
    for name in dict.fromkeys([*settings, *(row["stage"] for row in rows)]):
        own = [row for row in rows if row["stage"] == name]
        stage = settings.get(name, {})
        stages.append(
            Stage(
                name,
                _stage_summary(stage, recipe) if stage else "not in the recipe",
                stage.get("epochs"),
                own,
                _svg(TrainingCurvesDisplay.from_history(own)) if own else "",
                max(own, key=lambda row: float(row["val_accuracy"]), default=None),
                paper.WHOLE if stage.get("train_backbone", True) else paper.FROZEN,
            )
        )
    return stages


def _stage_summary(stage: dict[str, Any], recipe: dict[str, Any]) -> str:
    learns = "the whole network learns" if stage["train_backbone"] else "the extractor is frozen"
    if frozen := stage.get("frozen_blocks", 0):
        learns = f"all but the stem and the first {frozen} blocks learns"
    size = stage.get("tile_size") or recipe["tile_size"]
    return (
        f"{learns}, {stage['epochs']} epochs, learning rate {stage['learning_rate']:g}, "
        f"{stage['schedule']} schedule, {size} × {size} pixels"
    )


def _settings(config: dict[str, Any]) -> dict[str, str]:
    """Returns the settings in words, under the names of `paper.SETTINGS` where it has them."""
    recipe = config["recipe"]
    changes = recipe.get("augmentation", {})
    size = recipe["tile_size"]
    decay = recipe.get("weight_decay")
    settings = {
        "Recipe": recipe.get("name"),
        "Start": config.get("init"),
        "Network input": f"{size} × {size} pixels",
        "Training images": f"{config['training_images']:,}; "
        f"{config['dropped_images']:,} left out as leaks, repeats or excluded"
        + (", some more for a short run" if recipe.get("max_images") else ""),
        "Teachers": len(config.get("teachers", [])) or None,
        "Stages": "; then ".join(
            f"{stage['name']}: {_stage_summary(stage, recipe)}" for stage in recipe["stages"]
        ),
        "Batch size": recipe.get("batch_size"),
        "Optimizer": f"AdamW, weight decay {decay:g}" if decay else "Adam",
        "Dropout": recipe.get("dropout"),
        "Label smoothing": recipe.get("label_smoothing"),
        "FER+ votes": f"weight {recipe['ferplus_weight']:g}" if config.get("votes") else "no",
        "Average of weights": f"momentum {recipe['ema']:g}" if recipe.get("ema") else "no",
        "Augmentation": ", ".join(
            name.replace("_", " ") + ("" if value is True else f" {value:g}")
            for name, value in changes.items()
            # A share of images to mix says nothing where none is mixed.
            if value and (name != "mixup_share" or changes.get("mixup"))
        )
        or "none",
        "Seed": config.get("seed"),
        "Versions": ", ".join(f"{name} {v}" for name, v in config.get("versions", {}).items()),
        "Commit": config.get("git_sha"),
    }
    return {name: str(value) for name, value in settings.items() if value not in (None, "")}


def _class_counts(whole: Fer2013, config: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Returns images per class: of each split in the data, and those that were trained on."""
    counts = {
        split: whole.split(split).class_counts()
        for split in dataset.SPLITS
        if np.any(whole.splits == split)
    }
    return {**counts, "trained on": config["class_counts"]}


def _samples(data: Fer2013) -> dict[str, list[str]]:
    """Returns images of every class, spread evenly over the data, as data URIs."""
    samples = {}
    for index, label in enumerate(LABELS):
        where = np.flatnonzero(data.labels == index)
        chosen = np.linspace(0, len(where) - 1, min(SAMPLES, len(where))).astype(int)
        samples[label] = [_png(image) for image in data.images[where[chosen]]]
    return samples


def _mistakes(scored: Fer2013, probabilities: NDArray[np.float32]) -> list[Mistake]:
    """Returns the wrong answers that the network is surest of.

    Args:
        scored: The images.
        probabilities: Shape (N, 7), rows sum to 1.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != scored.labels)
    return [
        Mistake(
            _png(scored.images[index]),
            str(scored.names[index]),
            LABELS[scored.labels[index]],
            LABELS[predicted[index]],
            float(confidence[index]),
            _votes(scored.votes[index]),
        )
        for index in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    ]


def _votes(shares: NDArray[np.float32]) -> str:
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{LABELS[label]} {shares[label]:.0%}" for label in order if shares[label] > 0)


def _png(image: NDArray[np.uint8]) -> str:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _svg(display: Display) -> str:
    """Draws a display on a clear ground, in the text colour of a light or dark page.

    As an image with an address of its own, so that the names inside do not meet those of the
    next one.
    """
    import matplotlib as mpl

    # Keys and values of `Any`, as matplotlib's own types list every name there is.
    style: dict[Any, Any] = {"svg.hashsalt": "report"}
    for part in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"):
        style[part] = _INK
    for part in ("figure.facecolor", "axes.facecolor", "savefig.facecolor"):
        style[part] = "none"
    buffer = StringIO()
    with mpl.rc_context(style):
        display.draw().savefig(buffer, format="svg", metadata={"Date": None})
    drawn = (
        buffer.getvalue().replace(_INK, "currentColor").replace("<defs>", _SVG_STYLE + "<defs>", 1)
    )
    return f"data:image/svg+xml;base64,{b64encode(drawn.encode()).decode()}"


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    return environment.get_template("report.html")


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.report",
        "Write the report of a training run as one HTML file: settings, data, curves, "
        "scores and mistakes, beside the paper's numbers.",
        EPILOG,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of python -m train")
    add_data_options(parser)
    parser.add_argument(
        "--view", choices=VIEWS, default="fer2013", help="label view (default: fer2013)"
    )
    parser.add_argument(
        "--split",
        choices=dataset.SPLITS,
        default="PublicTest",
        help="split to score (default: PublicTest, which training chooses its best epoch by)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="OUT.html", help="file to write (default: RUN/report.html)"
    )
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    out = options.out or options.run / "report.html"
    write_report(options.run, options.data, options.votes, options.view, options.split, out)
    print(f"\nreport: {out}")


if __name__ == "__main__":
    run(_main)

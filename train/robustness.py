"""Scores a model on worse pictures: ``python -m train.robustness --model FILE --data PATH``."""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fer._stderr import silent_stderr
from fer.displays import RobustnessDisplay
from fer.metrics import Accuracy
from fer.spec import VIEWS

with silent_stderr():
    from fer._files import write_json
    from fer.nn import dataset
    from fer.nn.corruptions import CORRUPTIONS, SEVERITIES, corrupted
    from train.command import add_data_options, add_report_options, new_parser, run
    from train.predict import open_model

EPILOG = """examples:
  python -m train.robustness --model runs/cpu/best.keras --data fer2013.zip --plots plots
  python -m train.robustness --model model.tflite --data fer2013.csv --images 1000
"""


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.robustness",
        "Accuracy under the conditions that the paper's introduction names: "
        "illumination, rotation and pose, occlusion, low resolution, noise and JPEG, in five "
        "severities each.",
        EPILOG,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.{keras,tflite}")
    add_data_options(parser, votes=False)
    parser.add_argument("--split", choices=dataset.SPLITS, default="PublicTest")
    parser.add_argument(
        "--view", choices=VIEWS, help="label view of a checkpoint (default: fer2013)"
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="take about N images, evenly (default: all)"
    )
    add_report_options(parser)
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    predict, view = open_model(options.model, options.view)
    images = dataset.load(options.data).split(options.split)
    if options.images is not None:
        images = dataset.thinned(images, options.images)

    def accuracy(pictures: NDArray[np.uint8]) -> Accuracy:
        return Accuracy.of(predict(pictures).argmax(axis=1) == images.labels)

    clean = accuracy(images.images)
    title = f"{options.split}, view {view or 'unknown'}"
    print(f"{options.model.name} on {title}\n  without changes {clean}\n")
    cells = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    scores: dict[str, list[Accuracy]] = {name: [] for name in CORRUPTIONS}
    for name, severity in tqdm(cells, unit="condition", disable=None):
        scores[name].append(accuracy(corrupted(images.images, name, severity)))
    print(_table(scores))
    means = [score.value for row in scores.values() for score in row]
    print(f"\nmean over everything {np.mean(means):.2%}; intervals are in the JSON")
    if options.json:
        report = {
            "model": options.model.name,
            "split": options.split,
            "view": view,
            "clean": asdict(clean),
            "conditions": {name: [asdict(score) for score in row] for name, row in scores.items()},
            "mean": float(np.mean(means)),
        }
        write_json(options.json, report)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        RobustnessDisplay(clean, scores, title).save(options.plots / "robustness.png")


def _table(scores: dict[str, list[Accuracy]]) -> str:
    heads = "".join(f"{severity:>8}" for severity in SEVERITIES)
    rows = [f"{'severity':<15}{heads}{'mean':>8}"]
    for name, row in scores.items():
        values = [score.value for score in row]
        cells = "".join(f"{value:>8.1%}" for value in [*values, float(np.mean(values))])
        rows.append(f"{name:<15}{cells}")
    return "\n".join(rows)


if __name__ == "__main__":
    run(_main)

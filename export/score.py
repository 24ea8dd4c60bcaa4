"""Scores bundles on FER2013 for the model card: ``python -m export.score DIR --data PATH``."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fer._stderr import silent_stderr

with silent_stderr():
    from export.card import SCORES_FILE
    from export.push import read_bundles
    from fer._files import write_json
    from fer.displays import ConfusionMatrixDisplay, ReliabilityDisplay
    from fer.metrics import Accuracy, calibration_error, classify
    from fer.nn import dataset, leaks
    from fer.runtime import MODEL_FILE
    from train.calibrate import truth_of
    from train.command import add_data_options, new_parser, run
    from train.predict import open_model

EPILOG = """examples:
  python -m export.score exported --data fer2013.zip --votes fer2013new.csv
  python -m export.score exported --data fer2013.zip --splits PrivateTest
"""

_SCORED = ("PublicTest", "PrivateTest")


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "export.score",
        "Score every bundle of a folder on the test splits, with and without the images that stand "
        f"in another split too; write {SCORES_FILE} and plots there, for the card that "
        "python -m export.push makes. PrivateTest is for reporting: choose by PublicTest.",
        EPILOG,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="what python -m export wrote")
    add_data_options(parser)
    parser.add_argument(
        "--splits",
        metavar="A,B",
        help=f"splits to score (default: those of {', '.join(_SCORED)} that the data has)",
    )
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    bundles = read_bundles(options.folder)
    data = dataset.load(options.data, votes=options.votes)
    present = [name for name in _SCORED if (data.splits == name).any()]
    splits = [name.strip() for name in options.splits.split(",")] if options.splits else present
    for name in splits:
        if name not in present:
            raise ValueError(f"splits must be of {present} with this data, received {name!r}")
    if not splits:
        raise ValueError(f"data must have a split of {list(_SCORED)}, received {options.data}")
    voted = bundles[0].spec.calibration.truth == "votes"
    if voted and not data.votes.any():
        raise ValueError("votes must be given, as these bundles were calibrated against them")
    images = {split: data.split(split) for split in splits}
    fresh = {split: ~leaks.duplicated(data, split) for split in splits}
    rows: dict[str, Any] = {}
    for each in bundles:
        predict, view = open_model(each.folder / MODEL_FILE, None)
        row: dict[str, Any] = {}
        for split, scored in images.items():
            probabilities = predict(scored.images)
            result = classify(probabilities, scored.labels)
            error, bins = calibration_error(probabilities, truth_of(scored, each.spec.view))
            right = (probabilities.argmax(axis=1) == scored.labels)[fresh[split]]
            row[split] = {
                "accuracy": asdict(result.accuracy),
                "accuracy_without_duplicates": asdict(Accuracy.of(right)) if len(right) else None,
                "macro_f1": result.macro.f1,
                "calibration_error": error,
            }
            print(
                f"{each.variant:<18} {split:<11} {result.accuracy}  "
                f"macro F1 {result.macro.f1:.3f}  ECE {error:.3f}"
            )
            if each is bundles[0]:
                title = f"{each.variant} on {split}, view {view}"
                ConfusionMatrixDisplay(np.array(result.confusion), title).save(
                    options.folder / f"confusion-{split}.png"
                )
                ReliabilityDisplay(
                    bins["confidence"],
                    bins["accuracy"],
                    [int(count) for count in bins["count"]],
                    error,
                    title,
                ).save(options.folder / f"reliability-{split}.png")
        rows[each.variant] = {"model_sha256": each.spec.model_sha256, "splits": row}
    audit = leaks.audit(data)
    report = {
        "training_drops": len(audit.training_drops()),
        "audit": audit.counts(),
        "variants": rows,
    }
    write_json(options.folder / SCORES_FILE, report)


if __name__ == "__main__":
    run(_main)

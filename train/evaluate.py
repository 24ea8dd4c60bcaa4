"""Scores a model: ``python -m train.evaluate --model FILE --data PATH --split PublicTest``."""

import argparse
from pathlib import Path

from fer._stderr import silent_stderr
from fer.spec import VIEWS

with silent_stderr():
    from fer._files import write_json
    from fer.nn import dataset
    from train.command import add_report_options, new_parser, run
    from train.photos import score_photos
    from train.scores import score_tiles

EPILOG = """examples:
  python -m train.evaluate --model runs/cpu/best.keras --data fer2013.zip --json public.json
  python -m train.evaluate --model model.tflite --data fer2013.csv --split PrivateTest --plots out
  python -m train.evaluate --model runs/cpu/best.keras --photos photos.zip --view blend
"""


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.evaluate",
        "Score a checkpoint or an exported model on FER2013, or the whole pipeline "
        "(face detector, crop, model) on labelled photos.",
        EPILOG,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.{keras,tflite}")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="fer2013.csv, the Kaggle folder, or a .zip of it",
    )
    what.add_argument(
        "--photos", type=Path, metavar="DIR_OR_ZIP", help="labelled photos, <class>/*.jpg"
    )
    parser.add_argument("--split", choices=dataset.SPLITS, default="PublicTest")
    parser.add_argument(
        "--view",
        choices=VIEWS,
        help="label view of a checkpoint (default: fer2013, and blend for --photos); an exported "
        "model has one folded in",
    )
    add_report_options(parser)
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    if options.photos:
        report = score_photos(options.model, options.photos, options.view, options.plots)
    else:
        report, _ = score_tiles(
            options.model, options.data, options.split, options.view, options.plots
        )
    if options.json:
        write_json(options.json, report)


if __name__ == "__main__":
    run(_main)

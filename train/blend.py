"""What each share of FER+ is worth: ``python -m train.blend --model best.keras --photos DIR``.

The view ``blend`` averages the logits of both heads. FER2013's labels see anger and sadness in
neutral faces, FER+'s votes see little but neutral ones: `fer.nn.model.VIEW_WEIGHTS` has the share
that was chosen by this table.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer._stderr import silent_stderr

with silent_stderr():
    import numpy as np

    from fer._files import write_json
    from fer.metrics import Accuracy
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.spec import FER2013_CROP
    from train.command import add_data_options, new_parser, run
    from train.photos import crops, recalls
    from train.predict import logits_of

EPILOG = """examples:
  python -m train.blend --model runs/refine/best.keras --data fer2013.zip --photos photos.zip
"""

SHARES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)


def _main() -> None:
    options = _parse()
    checkpoint = models.load_checkpoint(options.model)
    models.fold_head(checkpoint, "blend")  # refuses a checkpoint that learned no votes
    images = dataset.load(options.data).split("PublicTest")
    squares, labels, found = crops(options.photos, FER2013_CROP)
    if not found.any():
        raise ValueError(f"photos: no face was found in any photo of {options.photos}")
    tiles, photos = logits_of(checkpoint, images.images), logits_of(checkpoint, squares)
    views = {shares[1]: view for view, shares in models.VIEW_WEIGHTS.items()}
    rows: list[dict[str, Any]] = []
    print("\nshare of FER+  photos, mean recall  neutral  PublicTest, FER2013's labels")
    for share in SHARES:
        answers, seen = (
            ((1 - share) * logits["fer2013"] + share * logits["ferplus"]).argmax(axis=1)
            for logits in (tiles, photos)
        )
        right = np.zeros(len(labels), bool)
        right[found] = seen == labels[found]
        accuracy = Accuracy.of(answers == images.labels)
        rows.append(
            {
                "share": share,
                "view": views.get(share),
                **recalls(right, labels),
                "public_test": asdict(accuracy),
            }
        )
        neutral = rows[-1]["recall"].get("neutral", float("nan"))
        print(f"{share:>13.2f}  {rows[-1]['mean_recall']:>19.3f}  {neutral:>7.2f}  {accuracy}")
    if options.json:
        write_json(options.json, rows)


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.blend",
        "Score every share of the FER+ head in the view blend, on photos and on PublicTest.",
        EPILOG,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.keras")
    add_data_options(parser, votes=False)
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="PATH", help="folder or .zip of <class>/*.jpg"
    )
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the table here")
    return parser.parse_args()


if __name__ == "__main__":
    run(_main)

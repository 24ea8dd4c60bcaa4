"""Finds duplicated images: ``python -m train.audit --data fer2013.zip --json audit.json``."""

from pathlib import Path

from fer._stderr import silent_stderr

with silent_stderr():
    from fer._files import write_json
    from fer.nn import dataset, leaks
    from train.command import add_data_options, new_parser, run

EPILOG = """example:
  python -m train.audit --data fer2013.zip --json audit.json
"""


def _main() -> None:
    parser = new_parser(
        "train.audit",
        "Find images that stand in more than one split of FER2013 (pixel for pixel, "
        f"or with 16 x 16 thumbnails that correlate above {leaks.NEAR}) and images that repeat "
        "inside Training. Training leaves them out by itself.",
        EPILOG,
    )
    add_data_options(parser)
    parser.add_argument(
        "--json",
        type=Path,
        default=Path("audit.json"),
        metavar="OUT.json",
        help="write every pair here (default: %(default)s)",
    )
    options = parser.parse_args()
    data = dataset.load(options.data, votes=options.votes)
    splits = [split for split in dataset.SPLITS if (data.splits == split).any()]
    print(f"{'split':<12}" + "".join(f"{label:>9}" for label in data.class_counts()) + "    total")
    for split in splits:
        part = data.split(split)
        counts = part.class_counts().values()
        print(f"{split:<12}" + "".join(f"{n:>9}" for n in counts) + f"{len(part):>9}")
    audit = leaks.audit(data)
    print(f"\n{'images of one split in another':<42}{'exact':>7}{'near':>7}{'other label':>13}")
    for pair, n in audit.counts().items():
        print(f"{pair:<42}{n['exact']:>7}{n['near']:>7}{n['other_label']:>13}")
    print(f"\ntraining drops {len(audit.training_drops())} images")
    write_json(options.json, audit.to_dict())
    print(f"every pair: {options.json}")


if __name__ == "__main__":
    run(_main)

"""Exports a checkpoint: ``python -m export --model best.keras --data fer2013.zip --out DIR``."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from fer._stderr import silent_stderr
from fer.metrics import Accuracy
from fer.spec import VIEWS
from fer.tile import make_tile

with silent_stderr():
    from export import bundle, parity
    from export.recipes import VARIANTS, Variant
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.convert import convert
    from fer.nn.fit import TrainingError
    from train.calibrate import calibrate
    from train.command import add_data_options, new_parser, run
    from train.predict import logits_of, view_logits

SPLIT = "PublicTest"
PARITY_TILES = 500

EPILOG = """examples:
  python -m export --model runs/cpu/best.keras --data fer2013.zip --out exported
  python -m export --model runs/cpu/best.keras --data fer2013.zip --view fer2013 \\
      --variants float32 --out exported-fer2013
"""


def _parse() -> argparse.Namespace:
    table = "\n".join(f"  {v.name:<10} {v.description}" for v in VARIANTS.values())
    parser = new_parser(
        "export",
        "Export a checkpoint to LiteRT (TFLite): calibrate it, convert it, compare "
        "every variant with the Keras model on real tiles, and write one bundle for each that "
        "agrees.",
        f"variants:\n{table}\n\n{EPILOG}",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.keras")
    add_data_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="DIR/<variant>/")
    parser.add_argument(
        "--variants", default="all", metavar="all|A,B", help="variants to export (default: all)"
    )
    parser.add_argument(
        "--view", choices=VIEWS, default="blend", help="label view to fold in (default: blend)"
    )
    parser.add_argument(
        "--with-checkpoint", action="store_true", help="put the .keras in every bundle too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing bundles")
    return parser.parse_args()


def _chosen(text: str) -> list[Variant]:
    names = list(VARIANTS) if text == "all" else text.split(",")
    for name in names:
        if name not in VARIANTS:
            raise ValueError(f"variants must be all or of {list(VARIANTS)}, received {name!r}")
    return [VARIANTS[name] for name in names]


def _replace(target: Path, new: Path, old: Path) -> None:
    """Puts a new folder in the place of an old one, which comes back if that fails."""
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def _main() -> None:
    options = _parse()
    variants = _chosen(options.variants)
    for variant in variants:
        if (options.out / variant.name).exists() and not options.overwrite:
            raise ValueError(f"{options.out / variant.name} exists already: add --overwrite")
    checkpoint = models.load_checkpoint(options.model)
    models.fold_head(checkpoint, options.view)  # refuses a view that nothing was learned for
    held = dataset.load(options.data).split(SPLIT)
    print(f"calibrating on half of {SPLIT}, view {options.view}")
    logits = logits_of(checkpoint, held.images)
    accuracy = {
        view: Accuracy.of(view_logits(logits, view).argmax(axis=1) == held.labels)
        for view in models.learned_views(checkpoint)
    }
    measured = bundle.Measured(
        SPLIT, accuracy, calibrate(view_logits(logits, options.view), held.labels).calibration
    )
    for view, value in accuracy.items():
        print(f"  {view:<8} {value}")
    print(
        f"  ECE {measured.calibration.ece_before:.4f} before, "
        f"{measured.calibration.ece_after:.4f} after (temperature "
        f"{measured.calibration.temperature:.3f})"
    )
    model = models.inference_model(checkpoint, options.view, measured.calibration.temperature)
    order = np.random.default_rng(0).permutation(len(held))[:PARITY_TILES]
    tiles = np.stack([make_tile(image, model.input_shape[1]) for image in held.images[order]])
    failures = []
    print(f"\n{'variant':<10} {'MB':>6} {'largest':>9} {'mean':>9} {'agreement':>9} {'seconds':>8}")
    options.out.mkdir(parents=True, exist_ok=True)
    for variant in variants:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=options.out, prefix=".") as folder:
            file = Path(folder) / "converted.tflite"
            content = convert(model, float16=variant.weights == "float16")
            file.write_bytes(content)
            try:
                result = parity.check(file, model, tiles, variant)
            except parity.ParityError as error:
                failures.append(str(error))
                print(f"{variant.name:<10} {len(content) / 1e6:>6.1f} not written: {error}")
                continue
            bundle.write(
                Path(folder) / "bundle",
                content=content,
                model=model,
                variant=variant,
                view=options.view,
                measured=measured,
                parity=result,
                checkpoint=options.model if options.with_checkpoint else None,
            )
            target = options.out / variant.name
            _replace(target, Path(folder) / "bundle", Path(folder) / "replaced")
        print(
            f"{variant.name:<10} {len(content) / 1e6:>6.1f} {result.max_difference:>9.2g} "
            f"{result.mean_difference:>9.2g} {result.agreement:>9.2%} "
            f"{time.monotonic() - started:>8.0f}"
        )
    if failures:
        raise TrainingError(f"parity failed for {len(failures)} of {len(variants)} variants")


if __name__ == "__main__":
    run(_main)

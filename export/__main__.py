"""Exports a checkpoint: ``python -m export --model best.keras --data fer2013.zip --out DIR``."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fer._files import write_json
from fer._stderr import silent_stderr
from fer.metrics import Accuracy
from fer.spec import VIEWS

with silent_stderr():
    import keras
    from numpy.typing import NDArray

    from export import benchmark, bundle, parity
    from export.build import Job
    from export.recipes import VARIANTS, Retrained, Variant
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.dataset import Fer2013
    from fer.nn.fit import TrainingError
    from train.calibrate import calibrate, truth_of
    from train.command import add_data_options, fingerprint, new_parser, run, training_images
    from train.predict import logits_of, tiles_of, view_logits

SPLIT = "PublicTest"
KEPT = "bundles that were written are whole"
"""What an interruption leaves."""

_CALIBRATION_PER_CLASS = 30
_TRAINING_PER_CLASS = 700

EPILOG = """examples:
  python -m export --model runs/cpu/best.keras --data fer2013.zip --votes fer2013new.csv \\
      --out exported
  python -m export --model runs/cpu/best.keras --data fer2013.zip --view fer2013 \\
      --variants float32,mixed_int8 --out exported-fer2013
"""


def _parse() -> argparse.Namespace:
    table = "\n".join(f"  {v.name:<18} {v.description}" for v in VARIANTS.values())
    parser = new_parser(
        "export",
        "Export a checkpoint to LiteRT (TFLite): calibrate it, make each variant in a process of "
        "its own, compare it with the Keras model on all of PublicTest, and write one bundle for "
        "each that keeps its promises.",
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
    names = list(VARIANTS) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in VARIANTS:
            raise ValueError(f"variants must be all or of {list(VARIANTS)}, received {name!r}")
    return [VARIANTS[name] for name in names]


def _replace(target: Path, new: Path, old: Path) -> None:
    """Puts a new folder in the place of an old one, which comes back if that fails."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:  # an interruption too, which may come after either
        if old.exists() and not target.exists():
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
    models.require_efficientnet(checkpoint.get_layer("backbone"), f"model {options.model}")
    data = dataset.load(options.data, votes=options.votes)
    held = data.split(SPLIT)
    training, _ = training_images(data, [])
    measured = _measured(checkpoint, fingerprint(options.model), held, options.view)
    model = models.inference_model(checkpoint, options.view, measured.calibration.temperature)
    tiles = _tiles(held, model)
    answers = model.predict(tiles, batch_size=64, verbose=0)
    reference = parity.Reference(
        tiles,
        held.labels,
        answers["probabilities"],
        answers["evidence"],
        truth_of(held, options.view),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out, prefix=".export-") as folder:
        job = Job(
            Path(folder).resolve(), options.model, options.view, measured.calibration.temperature
        )
        # As many of each class, and of Training alone: nothing here has seen what scores it.
        calibration = _tiles(dataset.balanced(training, _CALIBRATION_PER_CLASS), model)
        trained = any(isinstance(variant.method, Retrained) for variant in variants)
        job.write(calibration, _lessons(training, model) if trained else None)
        rows = _export(options, job, model, measured, reference, variants)
    failed = [row for row in rows if "fault" in row]
    rows = _with_earlier(options.out / "export.json", rows)
    write_json(options.out / "export.json", rows)
    written = [options.out / row["variant"] for row in rows if "bundle" in row]
    if written:
        print("\nmeasuring size, latency and memory")
        print(benchmark.table(benchmark.measure(options.out, written)))
    if failed:
        raise TrainingError(f"{len(failed)} of {len(variants)} variants were not written")


def _measured(checkpoint: keras.Model, sha256: str, held: Fer2013, view: str) -> bundle.Measured:
    print(f"calibrating on half of {SPLIT}, view {view}")
    logits = logits_of(checkpoint, held.images)
    accuracy = {
        each: Accuracy.of(view_logits(logits, each).argmax(axis=1) == held.labels)
        for each in models.learned_views(checkpoint)
    }
    calibration = calibrate(view_logits(logits, view), held, view).calibration
    for each, value in accuracy.items():
        print(f"  {each:<8} {value}")
    print(
        f"  ECE against {calibration.truth}: {calibration.ece_before:.4f} before, "
        f"{calibration.ece_after:.4f} after (temperature {calibration.temperature:.3f})"
    )
    return bundle.Measured(SPLIT, accuracy, calibration, sha256)


def _tiles(images: Fer2013, model: keras.Model) -> NDArray[np.float32]:
    return np.concatenate(list(tiles_of(images.images, model.input_shape[1])))


def _with_earlier(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns rows, and those of other variants that the same checkpoint and view gave before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    source = {key: rows[0][key] for key in ("checkpoint_sha256", "view")}
    known = {row["variant"]: row for row in before if source.items() <= row.items()}
    known |= {row["variant"]: row for row in rows}
    return [known[name] for name in VARIANTS if name in known]


def _lessons(
    training: Fer2013, model: keras.Model
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns tiles, some hundred of each class, and the model's answers: see `Job.write`."""
    print("asking the model about the tiles that variants are trained on")
    images = dataset.balanced(training, _TRAINING_PER_CLASS, seed=1).images
    parts, answers = [], []
    for tiles in map(np.rint, tiles_of(images, model.input_shape[1])):
        answers.append(model.predict(tiles, batch_size=64, verbose=0)["probabilities"])
        parts.append(tiles.astype(np.uint8))
    return np.concatenate(parts), np.concatenate(answers)


def _export(
    options: argparse.Namespace,
    job: Job,
    model: keras.Model,
    measured: bundle.Measured,
    reference: parity.Reference,
    variants: list[Variant],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    print(
        f"\n{'variant':<18} {'MB':>6} {'largest':>8} {'mean':>8} {'agree':>7} {'accuracy':>8} "
        f"{'drop':>6} {'ECE':>6} {'seconds':>8}"
    )
    try:
        _build(job, "float32")  # what the quantized ones are made from
    except parity.ParityError as error:
        raise TrainingError(str(error)) from error
    for variant in (bar := tqdm(variants, unit="variant", leave=False, disable=None)):
        bar.set_postfix_str(variant.name)
        started = time.monotonic()
        row: dict[str, Any] = {
            "variant": variant.name,
            "published": variant.published,
            "checkpoint_sha256": measured.checkpoint,
            "view": options.view,
        }
        rows.append(row)
        try:
            content = _build(job, variant.name).read_bytes()
            result = parity.check(job.folder / f"{variant.name}.tflite", reference, variant)
        except parity.ParityError as error:
            row["fault"] = str(error)
            stale = " (the bundle there is an older one)" * (options.out / variant.name).exists()
            bar.write(f"{variant.name:<18} not written{stale}: {error}")
            continue
        row["parity"] = result.to_dict()
        bar.write(
            f"{variant.name:<18} {result.bytes / 1e6:>6.2f} {result.max_difference:>8.2g} "
            f"{result.mean_difference:>8.2g} {result.agreement:>7.2%} "
            f"{result.accuracy.value:>8.2%} {result.drop:>+6.2f} "
            f"{result.calibration_error:>6.3f} {time.monotonic() - started:>8.0f}"
        )
        if not variant.published:
            continue
        new = job.folder / "bundles" / variant.name
        bundle.write(
            new,
            content=content,
            size=model.input_shape[1],
            predict=lambda tiles: model.predict(tiles, verbose=0)["probabilities"],
            variant=variant,
            view=options.view,
            measured=measured,
            parity=result,
            checkpoint=options.model if options.with_checkpoint else None,
        )
        _replace(options.out / variant.name, new, job.folder / f"replaced-{variant.name}")
        row["bundle"] = variant.name
    return rows


def _build(job: Job, name: str) -> Path:
    """Makes a variant's file in a process of its own, unless it is there.

    Raises:
        export.parity.ParityError: If that fails.
    """
    file = job.folder / f"{name}.tflite"
    if not file.exists():
        done = subprocess.run(
            [sys.executable, "-m", "export.build", str(job.folder), name],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode < 0:
            raise parity.ParityError(
                f"{name}: cannot be built: killed by signal {-done.returncode}"
            )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise parity.ParityError(f"{name}: cannot be built: {reason}")
    return file


if __name__ == "__main__":
    run(_main, KEPT)

"""Calibrates a checkpoint: ``python -m train.calibrate --model best.keras --data fer2013.zip``."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer._stderr import silent_stderr
from fer.displays import CoverageDisplay, ReliabilityDisplay
from fer.labels import LABELS
from fer.metrics import (
    ECE_BINS,
    Coverage,
    Truth,
    calibration_error,
    coverage,
    fit_temperature,
    rightness,
    softmax,
    uncertain_below,
)
from fer.spec import TRUTHS, VIEWS, Calibration

with silent_stderr():
    from fer._files import write_json
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.dataset import Fer2013
    from train.command import add_data_options, add_report_options, new_parser, run
    from train.predict import logits_of, view_logits

EPILOG = """examples:
  python -m train.calibrate --model runs/cpu/best.keras --data fer2013.zip
  python -m train.calibrate --model runs/cpu/best.keras --data fer2013.csv --view blend \\
      --votes fer2013new.csv --json calibration.json --plots plots
"""


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration, and how the half of the images that did not fit it sees it.

    Attributes:
        calibration: What goes into the spec.
        reliability_before: Reliability bins of the raw probabilities: see `calibration_error`.
        reliability_after: Those of the calibrated ones.
        chance: Calibration error to expect of answers that are perfectly calibrated, on as many
            images: what is left even then.
        coverage: Accuracy against coverage of the calibrated probabilities.
        uncertain_share: Share of the images whose answer is called uncertain.
        accuracy_uncertain: Accuracy on these; None where there is none.
        accuracy_certain: Accuracy on the others.
        n: Number of images in that half.

    Accuracy is the share of right labels, or of the people who agree: see `fer.spec.TRUTHS`.
    """

    calibration: Calibration
    reliability_before: dict[str, list[float]]
    reliability_after: dict[str, list[float]]
    chance: float
    coverage: list[Coverage]
    uncertain_share: float
    accuracy_uncertain: float | None
    accuracy_certain: float | None
    n: int


def calibrate(logits: NDArray[np.float32], images: Fer2013, view: str) -> CalibrationReport:
    """Fits temperature and ``uncertain`` threshold on a random half, reports on the other.

    The view ``fer2013`` answers what FER2013's label is. The others learned what people say, and
    are measured against that where the votes are there.

    Args:
        logits: Of the view, shape (N, 7).
        images: The N images, none of them trained on.
        view: One of `fer.spec.VIEWS`.
    """
    truth = truth_of(images, view)
    by_votes = truth.ndim == 2
    if by_votes:
        voted = images.votes.sum(axis=1) > 0
        logits, truth = logits[voted], truth[voted]
    order = np.random.default_rng(0).permutation(len(truth))
    fitted, held = order[: len(order) // 2], order[len(order) // 2 :]
    temperature = fit_temperature(logits[fitted], truth[fitted])
    threshold = uncertain_below(softmax(logits[fitted] / temperature), truth[fitted])
    answers = softmax(logits[held] / temperature)
    ece_before, before = calibration_error(softmax(logits[held]), truth[held])
    ece_after, after = calibration_error(answers, truth[held])
    uncertain = answers.max(axis=1) < threshold
    right = rightness(answers, truth[held])
    return CalibrationReport(
        calibration=Calibration(
            temperature=round(temperature, 6),
            ece_before=round(ece_before, 6),
            ece_after=round(ece_after, 6),
            uncertain_below=threshold,
            truth="votes" if by_votes else "labels",
        ),
        reliability_before=before,
        reliability_after=after,
        chance=_chance(answers, truth[held]),
        coverage=coverage(answers, truth[held]),
        uncertain_share=float(uncertain.mean()),
        accuracy_uncertain=float(right[uncertain].mean()) if uncertain.any() else None,
        accuracy_certain=float(right[~uncertain].mean()) if not uncertain.all() else None,
        n=len(held),
    )


def truth_of(images: Fer2013, view: str) -> Truth:
    """Returns what a view is measured against.

    Args:
        images: The images.
        view: One of `fer.spec.VIEWS`.

    Returns:
        Labels, shape (N,), for the view ``fer2013`` or where there are no votes at all; else the
        votes, shape (N, 7), and for the few images without a usable one the label's.
    """
    voted = images.votes.sum(axis=1, keepdims=True) > 0
    if view == "fer2013" or not voted.any():
        return images.labels
    return np.where(voted, images.votes, np.eye(len(LABELS), dtype=np.float32)[images.labels])


def _chance(probabilities: NDArray[np.float32], truth: Truth, draws: int = 200) -> float:
    """Returns the mean calibration error if only chance parted confidence from accuracy.

    What a bin's accuracy misses is taken from its images, which are then drawn anew.
    """
    rng = np.random.default_rng(0)
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    missed = rightness(probabilities, truth) - confidence
    total = 0.0
    for bin in np.unique(bins):
        inside = missed[bins == bin]
        again = rng.choice(inside - inside.mean(), (draws, len(inside)))
        total += float(np.abs(again.sum(axis=1)).mean())
    return total / len(confidence)


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.calibrate",
        "Fit the temperature on half of PublicTest and report on the other half: "
        "calibration error before and after, and accuracy against coverage. Export does the same "
        "and folds the temperature into the exported file.",
        EPILOG,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.keras")
    add_data_options(parser)
    parser.add_argument("--view", choices=VIEWS, default="fer2013")
    add_report_options(parser)
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    checkpoint = models.load_checkpoint(options.model)
    models.fold_head(checkpoint, options.view)  # refuses a view that nothing was learned for
    images = dataset.load(options.data, votes=options.votes).split("PublicTest")
    logits = view_logits(logits_of(checkpoint, images.images), options.view)
    report = calibrate(logits, images, options.view)
    fitted = report.calibration
    print(f"{options.model.name}, view {options.view}, on the {report.n} images of PublicTest")
    print("that did not fit the temperature. A confidence is the probability of")
    print(f"{TRUTHS[fitted.truth]}.")
    print(f"  temperature                  {fitted.temperature:.3f}")
    print(f"  calibration error before     {fitted.ece_before:.4f}")
    print(f"  calibration error after      {fitted.ece_after:.4f}")
    print(f"  of perfect scores, by chance {report.chance:.4f}")
    print(
        f"  uncertain below {fitted.uncertain_below:.2f}: {report.uncertain_share:.1%} of the "
        f"images, accuracy {_percent(report.accuracy_uncertain)}; of the others "
        f"{_percent(report.accuracy_certain)}"
    )
    print("\nconfidence at least  answered  accuracy")
    for entry in report.coverage:
        print(f"{entry.confidence:>19.2f}  {entry.coverage:>8.1%}  {entry.accuracy:>8.1%}")
    if options.json:
        write_json(options.json, {"view": options.view, **asdict(report)})
    if options.plots:
        _save_plots(report, options.plots, options.view)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _save_plots(report: CalibrationReport, folder: Path, view: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for when, bins, ece in (
        ("before", report.reliability_before, report.calibration.ece_before),
        ("after", report.reliability_after, report.calibration.ece_after),
    ):
        count = [int(number) for number in bins["count"]]
        ReliabilityDisplay(
            bins["confidence"], bins["accuracy"], count, ece, f"view {view}, {when} calibration"
        ).save(folder / f"reliability-{when}.png")
    CoverageDisplay(
        report.coverage,
        report.calibration.uncertain_below,
        1.0 - report.uncertain_share,
        f"view {view}, calibrated",
    ).save(folder / "coverage.png")


if __name__ == "__main__":
    run(_main)

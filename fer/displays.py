"""Plots of what was measured: each display stores values, draws on request and never shows.

Matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.metrics import Accuracy, Coverage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Display(ABC):
    """A plot that can be drawn and saved."""

    @abstractmethod
    def draw(self) -> Figure:
        """Returns a new figure."""

    def save(self, path: Path) -> None:
        """Writes a PNG under a temporary name and renames it."""
        with replacing(path) as temporary:
            self.draw().savefig(temporary, dpi=120)


def _figure(width: float, height: float) -> Figure:
    # Without pyplot there is no global state and nothing to close.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True)
class ConfusionMatrixDisplay(Display):
    """Confusion matrix with counts and row percentages (the paper's Figures 6 and 8).

    Attributes:
        matrix: Shape (7, 7), counts; rows are true classes, columns predicted ones.
        title: Title of the plot.
    """

    matrix: NDArray[np.int64]
    title: str

    def draw(self) -> Figure:
        """Returns a new figure."""
        figure = _figure(7, 6.2)
        axes = figure.add_subplot()
        shares = self.matrix / np.maximum(self.matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(self.matrix):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{share:.0%}\n{count}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 0.5 else "black",
            )
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=30)
        axes.set_yticks(range(len(LABELS)), LABELS)
        axes.set(xlabel="predicted", ylabel="true", title=self.title)
        return figure


@dataclass(frozen=True)
class ReliabilityDisplay(Display):
    """Accuracy against confidence (DeGroot and Fienberg 1983).

    Attributes:
        confidence: Mean confidence of each non-empty bin, in [0, 1].
        accuracy: Accuracy in each of these bins, in [0, 1].
        count: Images in each of these bins.
        ece: Expected calibration error, in [0, 1].
        title: Title of the plot.
    """

    confidence: Sequence[float]
    accuracy: Sequence[float]
    count: Sequence[int]
    ece: float
    title: str

    def draw(self) -> Figure:
        """Returns a new figure."""
        figure = _figure(5.5, 5.5)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
        sizes = 20 + 400 * np.asarray(self.count) / max(1, sum(self.count))
        axes.plot(self.confidence, self.accuracy, color="#0072B2")
        axes.scatter(self.confidence, self.accuracy, s=sizes, color="#0072B2", label="measured")
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence",
            ylabel="accuracy",
            title=f"{self.title}\nECE {self.ece:.3f}",
        )
        axes.legend(loc="upper left")
        return figure


@dataclass(frozen=True)
class CoverageDisplay(Display):
    """Accuracy of the answers that are given, against their share (El-Yaniv and Wiener 2010).

    Attributes:
        entries: Confidence, coverage and accuracy.
        uncertain_below: Confidence under which an answer is called uncertain, in [0, 1].
        certain_share: Share of the images whose answer is not, in [0, 1].
        title: Title of the plot.
    """

    entries: Sequence[Coverage]
    uncertain_below: float
    certain_share: float
    title: str

    def draw(self) -> Figure:
        """Returns a new figure."""
        figure = _figure(6, 4.5)
        axes = figure.add_subplot()
        shares = [entry.coverage for entry in self.entries]
        axes.plot(shares, [entry.accuracy for entry in self.entries], marker=".", color="#0072B2")
        axes.axvline(self.certain_share, color="#D55E00", linestyle=":")
        axes.annotate(
            f"uncertain below {self.uncertain_below:.2f}",
            (self.certain_share, 0.05),
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="right",
        )
        axes.set(
            xlim=(0, 1.02),
            xlabel="share of the images that is answered",
            ylabel="accuracy on these",
            title=self.title,
        )
        return figure


@dataclass(frozen=True)
class RobustnessDisplay(Display):
    """Accuracy under worse conditions, with 95% intervals.

    Attributes:
        clean: Accuracy without changes.
        scores: Accuracies by condition, severity 1 first.
        title: Title of the plot.
    """

    clean: Accuracy
    scores: Mapping[str, Sequence[Accuracy]]
    title: str

    def draw(self) -> Figure:
        """Returns a new figure."""
        columns = 5
        rows = -(-len(self.scores) // columns)
        figure = _figure(2.6 * columns, 2.5 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, (name, worse) in zip(grid, self.scores.items(), strict=False):
            points = [self.clean, *worse]
            severities = range(len(points))
            axes.plot(severities, [p.value for p in points], marker=".", color="#0072B2")
            axes.fill_between(
                severities,
                [p.low for p in points],
                [p.high for p in points],
                color="#0072B2",
                alpha=0.2,
            )
            axes.axhline(self.clean.value, color="0.6", linestyle="--")
            axes.set(title=name, ylim=(0, 1), xticks=list(severities))
        figure.supxlabel("severity (0: unchanged)")
        figure.supylabel("accuracy")
        figure.suptitle(self.title)
        return figure


@dataclass(frozen=True)
class TrainingCurvesDisplay(Display):
    """Accuracy and loss per epoch (the paper's Figures 5 and 7).

    Attributes:
        curves: For each column of the history, one value an epoch.
        stages: Name of the stage of each epoch.
    """

    curves: Mapping[str, Sequence[float]]
    stages: Sequence[str]

    @classmethod
    def from_history(cls, rows: Sequence[Mapping[str, str]]) -> TrainingCurvesDisplay:
        """Makes the display from the rows of ``history.csv``."""
        columns = ("accuracy", "val_accuracy", "loss", "val_loss")
        curves = {column: [float(row[column]) for row in rows] for column in columns}
        return cls(curves, [row["stage"] for row in rows])

    def draw(self) -> Figure:
        """Returns a new figure."""
        figure = _figure(10, 4)
        epochs = range(1, len(self.stages) + 1)
        for axes, column in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            axes.plot(epochs, self.curves[column], marker=".", label="training", color="#0072B2")
            axes.plot(
                epochs,
                self.curves[f"val_{column}"],
                marker=".",
                label="validation",
                color="#D55E00",
            )
            for epoch in epochs:
                if epoch > 1 and self.stages[epoch - 1] != self.stages[epoch - 2]:
                    axes.axvline(epoch - 0.5, color="0.6", linestyle=":")
                    axes.annotate(
                        self.stages[epoch - 1],
                        (epoch - 0.4, 0.02),
                        xycoords=("data", "axes fraction"),
                    )
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set(xlabel="epoch", title=column)
            axes.legend()
        return figure


@dataclass(frozen=True)
class AccuracySizeDisplay(Display):
    """Accuracy of several systems against the size of their files.

    Attributes:
        names: Names of the systems.
        megabytes: Size of each system's file.
        accuracies: Accuracy of each system.
    """

    names: Sequence[str]
    megabytes: Sequence[float]
    accuracies: Sequence[Accuracy]

    def draw(self) -> Figure:
        """Returns a new figure."""
        figure = _figure(8, 5)
        axes = figure.add_subplot()
        values = np.array([accuracy.value for accuracy in self.accuracies])
        axes.errorbar(
            self.megabytes,
            values,
            yerr=np.array(
                [
                    values - [accuracy.low for accuracy in self.accuracies],
                    [accuracy.high for accuracy in self.accuracies] - values,
                ]
            ),
            fmt="o",
            color="#0072B2",
            ecolor="0.7",
        )
        for name, place in zip(self.names, zip(self.megabytes, values, strict=True), strict=True):
            axes.annotate(name, place, xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        axes.margins(x=0.25)
        axes.set(xlabel="float32 file, MB", ylabel="accuracy (95% interval)")
        return figure


@dataclass(frozen=True)
class VariantsDisplay(Display):
    """Size, latency and accuracy of exported variants, a row each: many of them are almost alike.

    Attributes:
        names: Names of the variants.
        megabytes: Size of each file.
        milliseconds: Latency of each.
        accuracies: Accuracy of each, in [0, 1].
    """

    names: Sequence[str]
    megabytes: Sequence[float]
    milliseconds: Sequence[float]
    accuracies: Sequence[float]

    def draw(self) -> Figure:
        """Returns a new figure."""
        from matplotlib.ticker import LogLocator

        figure = _figure(9, 1 + 0.3 * len(self.names))
        size, latency, accuracy = figure.subplots(1, 3, sharey=True)
        for axes, values, title in (
            (size, self.megabytes, "size, MB"),
            (latency, self.milliseconds, "p50 latency, one thread, ms"),
            (accuracy, 100 * np.array(self.accuracies), "accuracy, %"),
        ):
            axes.plot(values, self.names, "o", color="#0072B2")
            axes.grid(alpha=0.4)
            axes.set_xlabel(title)
        size.set_xlim(left=0)
        size.invert_yaxis()
        latency.set_xscale("log")
        latency.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        latency.xaxis.set_major_formatter("{x:g}")
        latency.minorticks_off()
        return figure

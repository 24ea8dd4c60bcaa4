import itertools
import json

import numpy as np
import pytest

from fer.displays import (
    ConfusionMatrixDisplay,
    ReliabilityDisplay,
    TrainingCurvesDisplay,
    VariantsDisplay,
)
from fer.labels import LABELS
from fer.metrics import (
    Accuracy,
    calibration_error,
    classify,
    fit_temperature,
    softmax,
    uncertain_below,
)


def certain(predicted):
    return np.eye(7, dtype=np.float32)[predicted]


def test_the_interval_is_wilsons():
    # SciPy: binomtest(2512, 3589).proportion_ci(method="wilson").
    accuracy = Accuracy.of(np.arange(3589) < 2512)
    assert accuracy.value == pytest.approx(2512 / 3589)
    assert (accuracy.low, accuracy.high) == pytest.approx((0.68471, 0.71467), abs=1e-4)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0, 0.2775), (10, 0.7225, 1)])
def test_the_interval_stays_in_range_at_the_ends(right, low, high):
    accuracy = Accuracy.of(np.arange(10) < right)
    assert (accuracy.low, accuracy.high) == pytest.approx((low, high), abs=1e-4)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        Accuracy.of(np.zeros(0, bool))


def test_precision_recall_f1_and_averages_by_hand():
    labels = np.array([0, 0, 0, 3, 3, 6])
    result = classify(certain([0, 0, 3, 3, 3, 0]), labels)
    angry, happy, neutral = (result.per_class[LABELS[i]] for i in (0, 3, 6))
    assert (angry.precision, angry.recall, angry.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (happy.precision, happy.recall, happy.f1) == pytest.approx((2 / 3, 1, 0.8))
    assert (neutral.precision, neutral.recall, neutral.f1, neutral.support) == (0, 0, 0, 1)
    assert result.macro.recall == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result.weighted.recall == pytest.approx(4 / 6)
    assert result.accuracy.value == pytest.approx(4 / 6)
    assert result.confusion[0] == [2, 0, 0, 1, 0, 0, 0]
    json.dumps(result.to_dict())


def test_the_table_names_every_class_and_both_averages():
    text = classify(certain(list(range(7)) * 2), np.arange(7).repeat(2)).table()
    for name in (*LABELS, "accuracy", "macro avg", "weighted avg"):
        assert any(line.startswith(name) for line in text.splitlines()), name


def test_calibration_error_by_hand():
    probabilities = np.full((4, 7), 0.4 / 6)
    probabilities[:, 2] = 0.6
    ece, bins = calibration_error(probabilities, np.array([2, 2, 2, 0]))
    assert ece == pytest.approx(0.15)
    assert bins == {"confidence": [pytest.approx(0.6)], "accuracy": [0.75], "count": [4]}


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 7))
    drawn = (softmax(logits).cumsum(axis=1) > rng.uniform(size=(20_000, 1))).argmax(axis=1)
    assert fit_temperature(3 * logits, drawn) == pytest.approx(3, rel=0.05)


def test_uncertain_is_where_the_label_is_wrong_more_often_than_right():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 20_000)
    probabilities = np.repeat((1 - confidence[:, None]) / 6, 7, axis=1)
    probabilities[:, 0] = confidence
    labels = np.where(rng.uniform(size=20_000) < confidence, 0, 1)
    assert uncertain_below(probabilities, labels) == pytest.approx(0.55, abs=0.03)
    assert uncertain_below(probabilities, np.zeros(20_000, int)) == 0.2


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"probabilities must have shape \(2, 7\)"):
        classify(np.zeros((3, 7)), np.zeros(2, np.int64))


def test_plots_draw_what_was_measured(tmp_path):
    matrix = np.arange(49).reshape(7, 7)
    axes = ConfusionMatrixDisplay(matrix, "title").draw().axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(LABELS)
    assert axes.texts[8].get_text().endswith("\n8")
    reliability = ReliabilityDisplay([0.5], [0.4], [10], 0.1, "title").draw().axes[0]
    assert "ECE 0.100" in reliability.get_title()
    row = {"accuracy": "0.5", "val_accuracy": "0.4", "loss": "1", "val_loss": "2"}
    rows = [{**row, "stage": "frozen"}, {**row, "stage": "whole", "accuracy": "0.6"}]
    curves = TrainingCurvesDisplay.from_history(rows)
    assert curves.draw().axes[0].lines[0].get_ydata() == pytest.approx([0.5, 0.6])
    curves.save(tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_variants_that_are_alike_keep_legible_names():
    names = [f"variant_with_a_name_{number}" for number in range(12)]
    figure = VariantsDisplay(names, [4.9] * 12, [1.5] * 12, [0.63] * 12).draw()
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == names
    boxes = [label.get_window_extent() for label in labels]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0

"""Calibration: fitted on one half, reported on the other."""

import json
import sys

import numpy as np
import pytest

from fer.metrics import coverage, softmax
from tests.synthetic import drawn, rows, write_csv


def test_accuracy_rises_as_doubtful_answers_are_withheld():
    probabilities = np.full((4, 7), 0.01, np.float32)
    probabilities[range(4), 0] = (0.94, 0.8, 0.6, 0.4)
    labels = np.array([0, 0, 1, 1])
    entries = {round(entry.confidence, 2): entry for entry in coverage(probabilities, labels)}
    assert (entries[0.0].coverage, entries[0.0].accuracy) == (1.0, 0.5)
    assert (entries[0.5].coverage, entries[0.5].accuracy) == (0.75, pytest.approx(2 / 3))
    assert (entries[0.7].coverage, entries[0.7].accuracy) == (0.5, 1.0)
    assert 0.95 not in entries


def with_votes(labels, votes):
    from fer.nn.dataset import Fer2013

    n = len(labels)
    names = np.array([f"{index}.png" for index in range(n)])
    splits = np.array(["PublicTest"] * n)
    return Fer2013(np.zeros((n, 48, 48), np.uint8), labels, splits, names, votes)


def people(probabilities, rng):
    """Votes of ten people an image, each drawn from the probabilities."""
    votes = np.stack([rng.multinomial(10, row.astype(float) / row.sum()) for row in probabilities])
    return (votes / 10).astype(np.float32)


@pytest.mark.slow
def test_views_that_learned_votes_are_calibrated_on_them_where_they_are_there():
    from train.calibrate import calibrate

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (2000, 7)).astype(np.float32)
    votes = people(softmax(logits), rng)
    votes[:100] = 0.0  # images without a usable vote
    labels = rng.integers(0, 7, 2000)  # of which nothing can be known
    images = with_votes(labels, votes)
    blend = calibrate(2 * logits, images, "blend")
    assert blend.calibration.truth == "votes"
    assert blend.calibration.temperature == pytest.approx(2, abs=0.1)
    assert blend.calibration.ece_after < 0.03 < 0.1 < blend.calibration.ece_before
    assert blend.n == 950
    assert calibrate(2 * logits, images, "fer2013").calibration.temperature > 4
    unvoted = calibrate(2 * logits, with_votes(labels, np.zeros_like(votes)), "blend")
    assert unvoted.calibration.truth == "labels"
    assert unvoted.n == 1000


@pytest.mark.slow
def test_overconfident_scores_are_mended_and_perfect_ones_left_alone():
    from train.calibrate import calibrate

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 7)).astype(np.float32)
    labels = (rng.random((4000, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 6)
    images = with_votes(labels, np.zeros((4000, 7), np.float32))
    perfect = calibrate(logits, images, "fer2013")
    assert perfect.calibration.temperature == pytest.approx(1, abs=0.06)
    assert perfect.calibration.ece_after < perfect.chance * 1.6
    loud = calibrate(3 * logits, images, "fer2013")
    assert loud.calibration.temperature == pytest.approx(3, abs=0.2)
    assert loud.calibration.ece_before > 0.2
    assert loud.calibration.ece_after == pytest.approx(perfect.calibration.ece_after, abs=0.01)
    assert loud.n == 2000
    assert loud.accuracy_certain > loud.accuracy_uncertain


@pytest.mark.slow
def test_the_command_prints_draws_and_writes_the_calibration(tmp_path, monkeypatch, capsys):
    from fer.nn import model as models
    from train import calibrate
    from train.command import run

    network = models.build(48, init="none", dropout=0.0)
    kernel, bias = network.get_layer("fer2013").get_weights()
    bias[3] = 4.0  # happy, very sure of it, and right once in seven times
    network.get_layer("fer2013").set_weights([kernel, bias])
    models.save(network, tmp_path / "sure.keras")
    data = write_csv(tmp_path / "fer2013.csv", rows(drawn({"Training": 1, "PublicTest": 6})))
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))
    options = ["--model", tmp_path / "sure.keras", "--data", data,
               "--json", tmp_path / "report.json", "--plots", tmp_path / "plots"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["calibrate", *map(str, options)])
    run(calibrate._main)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["calibration"]["ece_before"] > 0.7
    assert report["calibration"]["ece_after"] < 0.3
    assert report["calibration"]["temperature"] > 2
    assert "confidence at least  answered  accuracy" in capsys.readouterr().out
    drawings = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawings == ["coverage.png", "reliability-after.png", "reliability-before.png"]

    monkeypatch.setattr(sys, "argv", ["calibrate", *map(str, options), "--view", "ferplus"])
    with pytest.raises(SystemExit) as stopped:
        run(calibrate._main)
    assert stopped.value.code == 2
    assert "trained without FER+ votes" in capsys.readouterr().err

"""Worse pictures, and the report of how a model does on them."""

import json
import sys

import numpy as np
import pytest

from fer.nn.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from tests.synthetic import drawn, rows, write_csv

IMAGES = drawn({"PublicTest": 2}).images


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_step_changes_the_picture_more_and_always_in_the_same_way(name):
    changes = [
        np.abs(corrupted(IMAGES, name, severity).astype(int) - IMAGES).mean()
        for severity in SEVERITIES
    ]
    assert changes[0] > 0.5
    # The position of what hides a face is drawn anew; its size grows.
    assert changes[4] > changes[2] > changes[0]
    again = corrupted(IMAGES, name, 3)
    assert again.shape == IMAGES.shape
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, corrupted(IMAGES, name, 3))


def test_darkness_is_dark_and_a_turned_head_keeps_its_brightness():
    assert corrupted(IMAGES, "dark", 5).mean() < 0.2 * IMAGES.mean()
    assert corrupted(IMAGES, "pose", 2).mean() == pytest.approx(IMAGES.mean(), rel=0.1)


@pytest.mark.parametrize(("name", "severity"), [("fog", 1), ("dark", 0), ("dark", 6)])
def test_an_unknown_condition_is_refused(name, severity):
    with pytest.raises(ValueError, match="must be one of"):
        corrupted(IMAGES, name, severity)


@pytest.mark.slow
def test_the_report_has_every_condition_and_severity(tmp_path, monkeypatch, capsys):
    from fer.nn import model as models
    from train import robustness
    from train.command import run

    network = models.build(48, init="none", dropout=0.0)
    kernel, bias = network.get_layer("fer2013").get_weights()
    # Answers "happy" to everything: right on one image in seven, whatever is done to it.
    bias[3] = 5.0
    network.get_layer("fer2013").set_weights([kernel, bias])
    models.save(network, tmp_path / "happy.keras")
    data = write_csv(tmp_path / "fer2013.csv", rows(drawn({"Training": 1, "PublicTest": 1})))
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))
    options = ["--model", tmp_path / "happy.keras", "--data", data,
               "--json", tmp_path / "report.json", "--plots", tmp_path]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["robustness", *map(str, options)])
    run(robustness._main)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["clean"]["value"] == pytest.approx(1 / 7)
    assert report["mean"] == pytest.approx(1 / 7)
    assert list(report["conditions"]) == list(CORRUPTIONS)
    assert {len(row) for row in report["conditions"].values()} == {5}
    printed = capsys.readouterr().out
    assert "low resolution    14.3%   14.3%" in printed
    assert (tmp_path / "robustness.png").stat().st_size > 10_000

    monkeypatch.setattr(sys, "argv", ["robustness", *map(str, options), "--images", "0"])
    with pytest.raises(SystemExit) as stopped:
        run(robustness._main)
    assert stopped.value.code == 2
    assert "images must be at least 1, received 0" in capsys.readouterr().err

"""The shipped bundle, as a phone developer would check it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.labels import LABELS
from fer.recognizer import DEFAULT_BUNDLE
from fer.runtime import MODEL_FILE, TileClassifier
from fer.spec import ModelSpec, SpecError


@pytest.fixture(scope="module")
def spec():
    return ModelSpec.load(DEFAULT_BUNDLE)


@pytest.fixture(scope="module")
def classifier(spec):
    return TileClassifier.from_bundle(DEFAULT_BUNDLE, spec)


def test_golden_tiles_get_the_answers_they_were_shipped_with(classifier):
    golden = json.loads((DEFAULT_BUNDLE / "golden" / "golden.json").read_text())
    assert len(golden["probabilities"]) == 20
    for name, expected in golden["probabilities"].items():
        tile = np.asarray(Image.open(DEFAULT_BUNDLE / "golden" / f"{name}.png"), np.float32)
        answer = classifier.predict(tile[None]).probabilities[0]
        assert answer == pytest.approx(expected, abs=golden["tolerance"]), name


def test_answers_are_probabilities_however_many_tiles_there_are(classifier, spec):
    size = spec.tile_size
    tiles = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    together = classifier.predict(tiles)
    assert together.probabilities.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    alone = np.concatenate([classifier.predict(tile[None]).probabilities for tile in tiles])
    assert np.array_equal(alone, together.probabilities)


def test_no_tile_gives_no_row(classifier, spec):
    empty = np.zeros((0, spec.tile_size, spec.tile_size, 3), np.float32)
    assert classifier.predict(empty).probabilities.shape == (0, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 10, 10, 3), np.float32),
        np.zeros((96, 96, 3), np.float32),
        np.zeros((1, 96, 96, 3), np.uint8),
        np.zeros((1, 96, 96, 3), np.float64),
    ],
)
def test_tiles_of_another_shape_or_dtype_are_refused(classifier, wrong):
    with pytest.raises(ValueError, match="tiles must be float32 of shape"):
        classifier.predict(wrong)


def test_tiles_with_nan_are_refused(classifier, spec):
    tiles = np.full((1, spec.tile_size, spec.tile_size, 3), np.nan, np.float32)
    with pytest.raises(ValueError, match="tiles must be finite"):
        classifier.predict(tiles)


def test_the_bundle_says_what_it_is(spec):
    assert spec.view == "blend"
    assert (DEFAULT_BUNDLE / "labels.txt").read_text().split() == list(LABELS)
    card = (DEFAULT_BUNDLE / "MODEL_CARD.md").read_text()
    manifest = json.loads((DEFAULT_BUNDLE / "manifest.json").read_text())
    for view, accuracy in manifest["accuracy"].items():
        assert f"| {view} | {accuracy['value']:.2%} |" in card
    assert "not a felt emotion" in card


@pytest.fixture
def copy(tmp_path):
    for name in ("spec.json", MODEL_FILE):
        shutil.copy(DEFAULT_BUNDLE / name, tmp_path / name)
    return tmp_path


def change_spec(bundle: Path, **fields):
    path = bundle / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_model_that_is_not_its_specs_is_refused(copy, spec):
    content = bytearray((copy / MODEL_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / MODEL_FILE).write_bytes(content)
    with pytest.raises(SpecError, match="does not belong to its spec.json"):
        TileClassifier.from_bundle(copy, spec)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"spec_version": 2}, "spec_version must be 1, received 2"),
        ({"labels": ["happy", "sad"]}, "labels must be"),
        ({"view": "affectnet"}, "view must be one of"),
        ({"tile_size": 96.5}, "tile_size must be in"),
        ({"model_sha256": 5}, "must be strings"),
        ({"crop": {"scale": -1, "offset_y": 0}}, "crop.scale and .* must be positive"),
        ({"crop": {"scale": "1", "offset_y": 0}}, "must be numbers"),
        ({"tile_size": 4000}, r"tile_size must be in \[32, 512\], received 4000"),
        ({"crop": {"scale": 1}}, "not a version 1 spec"),
        ({"surprise": 1}, "not a version 1 spec"),
    ],
)
def test_a_spec_that_cannot_be_served_is_refused(copy, fields, says):
    change_spec(copy, **fields)
    with pytest.raises(SpecError, match=says):
        ModelSpec.load(copy)


def test_missing_files_are_named(tmp_path, spec):
    with pytest.raises(SpecError, match="no readable spec.json"):
        ModelSpec.load(tmp_path)
    with pytest.raises(SpecError, match=f"no readable {MODEL_FILE}"):
        TileClassifier.from_bundle(tmp_path, spec)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / MODEL_FILE
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is not a model exported by this project"):
        TileClassifier(path)


def test_a_spec_survives_being_written(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec

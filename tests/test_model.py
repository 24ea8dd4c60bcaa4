import keras
import numpy as np
import pytest

from fer.metrics import softmax
from fer.nn import model as models


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = models.build(64, init="none", dropout=0.3)
    # A fresh head of an untrained network says nearly the same of everything.
    rng = np.random.default_rng(0)
    for head in models.HEADS:
        kernel, bias = model.get_layer(head).get_weights()
        model.get_layer(head).set_weights(
            [rng.normal(0, 1, kernel.shape), rng.normal(0, 1, bias.shape)]
        )
    return model


TILES = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def logits(model):
    return {head: values.numpy() for head, values in model(TILES).items()}


def test_the_network_is_the_papers_with_two_heads(model, logits):
    assert sorted(logits) == ["fer2013", "ferplus"]
    assert logits["fer2013"].shape == (3, 7)
    assert len(model.get_layer("backbone").layers) == 237
    assert 4.0e6 < model.count_params() < 4.1e6


def test_colour_is_seen_as_its_luminance(model, logits):
    grey = np.repeat((TILES @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, axis=3)
    assert model(grey)["fer2013"].numpy() == pytest.approx(logits["fer2013"], abs=1e-3)


@pytest.mark.parametrize("view", ["fer2013", "ferplus", "blend"])
def test_folding_a_view_and_a_temperature_is_exact(model, logits, view):
    chosen = {"blend": 0.2 * logits["fer2013"] + 0.8 * logits["ferplus"], **logits}[view]
    outputs = models.inference_model(model, view, temperature=1.7)(TILES)
    expected = softmax(chosen / 1.7)
    assert outputs["probabilities"].numpy() == pytest.approx(expected, abs=1e-5)
    evidence = outputs["evidence"].numpy()
    assert evidence.shape == (3, 2, 2, 7)
    assert evidence.mean(axis=(1, 2)) == pytest.approx(chosen / 1.7, abs=1e-4)


def test_an_unknown_view_is_refused(model):
    with pytest.raises(ValueError, match="view must be one of"):
        models.fold_head(model, "affectnet")


def test_a_view_that_nothing_was_learned_for_is_refused():
    untrained = models.build(48, init="none", dropout=0)
    assert models.learned_views(untrained) == ("fer2013",)
    for view in ("ferplus", "blend"):
        with pytest.raises(models.ModelError, match="trained without FER.+ votes.*--view fer2013"):
            models.fold_head(untrained, view)


def test_imagenet_weights_that_cannot_be_fetched_are_one_clear_error(monkeypatch):
    def offline(**_):
        raise Exception("URL fetch failure on https://...: None -- [Errno -3] name resolution")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", offline)
    with pytest.raises(models.ModelError, match="could not be downloaded .*--init none"):
        models.build(48, init="imagenet", dropout=0)


def test_a_saved_checkpoint_answers_the_same_and_starts_another_size(model, logits, tmp_path):
    path = tmp_path / "model.keras"
    models.save(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    again = models.load_checkpoint(path)
    assert again(TILES)["ferplus"].numpy() == pytest.approx(logits["ferplus"], abs=1e-5)
    larger = models.build(96, init=str(path), dropout=0.1)
    assert larger.input_shape == (None, 96, 96, 3)
    kernel = model.get_layer("fer2013").get_weights()[0]
    assert np.array_equal(larger.get_layer("fer2013").get_weights()[0], kernel)


def test_a_failed_save_leaves_the_last_good_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"the last good file")

    def full_disk(_, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        models.save(model, path)
    assert path.read_bytes() == b"the last good file"
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def other_network(path):
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(4, 1)(image)).save(path)


def test_files_that_cannot_serve_are_refused(tmp_path):
    with pytest.raises(models.ModelError, match="model must be an existing .keras file"):
        models.load(tmp_path / "missing.keras")
    corrupted = tmp_path / "corrupted.keras"
    corrupted.write_bytes(b"PK\3\4 cut")
    with pytest.raises(models.ModelError, match="corrupted.keras cannot be loaded"):
        models.load(corrupted)
    other = tmp_path / "other.keras"
    other_network(other)
    with pytest.raises(models.ModelError, match="is not a checkpoint of this project"):
        models.load_checkpoint(other)
    with pytest.raises(models.ModelError, match="init .* must be an EfficientNetB0"):
        models.build(64, init=str(other), dropout=0)

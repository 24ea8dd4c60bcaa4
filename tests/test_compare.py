"""The comparison of networks: each one as it is trained and exported, and the command."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from skimage.feature import local_binary_pattern

from fer.metrics import softmax
from fer.nn import model as models
from fer.nn import networks
from fer.nn.augment import validation_batches
from tests.process import call
from tests.synthetic import drawn, rows, write_csv
from train import compare

DATA = drawn({"Training": 8, "PublicTest": 3, "PrivateTest": 3})
SYSTEMS = {system.slug: system for system in networks.SYSTEMS}


def test_lbp_maps_are_those_of_scikit_image():
    image = np.random.default_rng(0).integers(0, 8, (20, 24)).astype(np.uint8)  # many are equal
    pixels = keras.Input((20, 24, 1))
    maps = keras.Model(pixels, networks.lbp_maps(pixels))(image[None, ..., None].astype(np.float32))
    # On a circle of radius 1 only the neighbours along the axes are pixels, every second bit; on
    # one of the square root of 2, only those along the diagonals.
    axes = local_binary_pattern(image, 8, 1).astype(int) & 0b01010101
    diagonals = local_binary_pattern(image, 8, np.sqrt(2)).astype(int) & 0b10101010
    expected = (axes | diagonals)[1:-1, 1:-1]
    assert np.array_equal(np.rint(255 * maps.numpy()[0, ..., 0]), expected)
    assert len(np.unique(expected)) > 50


def test_lbp_maps_of_a_larger_radius_compare_pixels_that_far_away():
    image = np.random.default_rng(0).uniform(0, 255, (1, 12, 12, 1)).astype(np.float32)
    large = np.repeat(np.repeat(image, 2, axis=1), 2, axis=2)
    small_input, large_input = keras.Input((12, 12, 1)), keras.Input((24, 24, 1))
    small = keras.Model(small_input, networks.lbp_maps(small_input))(image).numpy()
    wide = keras.Model(large_input, networks.lbp_maps(large_input, 2))(large).numpy()
    assert np.array_equal(wide[:, ::2, ::2], small)


@pytest.mark.parametrize(
    ("slug", "millions"),
    [("vgg16", 14.7), ("resnet50", 23.6), ("inceptionv3", 21.8), ("efficientnetb0", 4.05)],
)
def test_known_networks_have_their_known_number_of_parameters(slug, millions):
    built = networks.build(SYSTEMS[slug], 96, init="none", dropout=0.3)
    assert (built.start, built.missing) == ("from scratch", "")
    parameters = built.model.get_layer("backbone").count_params() / 1e6
    assert parameters == pytest.approx(millions, abs=0.05)


def test_hand_made_features_have_a_fixed_length_and_know_directions():
    vectors = networks.describe(DATA.images[:2])
    assert vectors.shape == (2, networks.VECTOR)
    assert vectors.dtype == np.float32
    assert 0 <= vectors.min() <= vectors.max() <= 1
    stripes = np.tile(np.uint8([0, 0, 255, 255] * 12), (48, 1))
    across, down = networks.describe(np.stack([stripes, stripes.T]))
    assert np.abs(across - down).max() > 0.3


def test_a_server_that_cannot_be_reached_costs_one_try_and_gives_random_weights(monkeypatch):
    tried = []

    def offline(*, weights, input_tensor, **_):
        tried.append(weights)
        if weights:
            raise Exception("URL fetch failure on https://...: None -- [Errno -2] no such name")
        inputs = keras.utils.get_source_inputs(input_tensor)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3)(input_tensor))

    offline.__name__ = "VGG16"
    monkeypatch.setattr(keras.applications, "VGG16", offline)
    built = networks.build(SYSTEMS["vgg16"], 48, init="imagenet", dropout=0.3)
    assert tried == ["imagenet", None]
    assert built.start == "from scratch"
    assert built.missing == "no ImageNet weights of VGG16 ([Errno -2] no such name)"


def test_the_recipe_fits_the_number_of_images():
    assert compare.recipe(28_000, 50, 96).ema == compare.CPU.ema
    few = compare.recipe(20, 1, 96)
    assert (few.batch_size, few.ema) == (20, 0.5)
    assert [stage.epochs for stage in few.stages] == [1]


def vectors_or_tiles(model):
    """Returns inputs, targets and weights of a batch."""
    images, targets, weights = next(iter(validation_batches(DATA.split("Training"), 96, 4)))
    if len(model.input_shape) == 2:
        return networks.describe(DATA.split("Training").images[:4]), targets, weights
    return images.numpy(), targets, weights


@pytest.mark.slow
@pytest.mark.parametrize("slug", SYSTEMS)
def test_every_system_learns_is_saved_and_answers_the_same_on_litert(slug, tmp_path):
    from fer.nn.convert import convert
    from fer.nn.fit import compile_stage

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    system = SYSTEMS[slug]
    model = networks.build(system, 96, init="none", dropout=0.3).model
    recipe = compare.recipe(4, 1, 96)
    compile_stage(model, recipe, recipe.stages[0], 1)
    model.run_eagerly = True  # for one step, tracing costs more
    inputs, targets, weights = vectors_or_tiles(model)
    losses = model.train_on_batch(inputs, targets, sample_weight=weights)
    assert np.isfinite(losses).all()
    assert any(model.get_layer("fer2013").get_weights()[0].ravel())

    path = tmp_path / "model.keras"
    models.save(model, path)
    again = models.load(path)
    assert models.is_checkpoint(again) == (system.features is not None)

    # A head that says something: after one step, all classes are nearly as likely.
    head = again.get_layer("fer2013")
    kernel = np.random.default_rng(0).normal(size=head.kernel.shape)
    head.set_weights([kernel, np.zeros(7)])
    logits = again(inputs)["fer2013"].numpy()
    scale = 3 / np.abs(logits).max()
    head.set_weights([scale * kernel, np.zeros(7)])
    expected = softmax(scale * logits)
    assert np.ptp(expected) > 0.1
    content = convert(networks.classifier(again))
    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    for row, values in zip(inputs[:2], expected, strict=False):
        assert runner(image=row[None])["probabilities"][0] == pytest.approx(values, abs=1e-3)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command in this process; returns its exit code, output and errors."""
    data = write_csv(tmp_path / "fer2013.csv", rows(DATA))
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))

    return lambda *arguments: call(
        compare._main, "--data", data, "--init", "none", "--out", tmp_path / "out", *arguments
    )


OPTIONS = ("--budget", 112, "--tile-size", 48, "--systems", "cnn,lbp-hog")


@pytest.mark.slow
def test_the_command_trains_each_system_once(command, tmp_path, monkeypatch):
    code, first, errors = command(*OPTIONS)
    assert code == 0, errors
    lines = [line for line in first.splitlines() if line.startswith("|")]
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header == [
        "system",
        "start",
        "parameters (M)",
        "size (MB)",
        "latency (ms)",
        "PublicTest accuracy (95% interval)",
        "training (min)",
    ]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "LBP and HOG, dense network",
        "plain CNN",
    ]
    assert len({len(line) for line in lines}) == 1
    out = tmp_path / "out"
    report = json.loads((out / "compare.json").read_text())
    assert report["images_seen"] == 112
    assert report["epochs"] == 2
    for row in report["rows"]:
        assert row["start"] == "from scratch"
        assert row["accuracy"]["n"] == 3 * 7
        assert 0.1e6 < row["parameters"] < 2e6
        assert row["bytes"] == (out / row["slug"] / "model.tflite").stat().st_size
        assert row["bytes"] == pytest.approx(4 * row["parameters"], rel=0.2)
        assert row["latency_ms"] > 0
        assert row["minutes"] >= 0
    assert (out / "compare.png").stat().st_size > 5_000
    assert "saw 112 training images" in (out / "compare.md").read_text()
    assert not list(out.rglob("last-*.keras"))

    monkeypatch.setattr(compare, "_measured", None)
    code, second, errors = command(*OPTIONS, "--json")
    assert code == 0, errors
    assert json.loads(second) == report
    assert errors.count("done before") == 2

    code, _, errors = command("--budget", 56, *OPTIONS[2:])
    assert code == 2
    (line,) = errors.splitlines()
    assert "holds a comparison with other budget, recipe" in line


@pytest.mark.slow
def test_a_killed_system_goes_on_and_a_broken_one_does_not_stop_the_others(
    command, tmp_path, monkeypatch
):
    from fer.nn import fit as fitting

    keep = fitting._keep_checkpoint

    def once(*arguments):
        keep(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_keep_checkpoint", once)
        code, _, errors = command(*OPTIONS[:-1], "cnn")
    assert code == 130
    history = (tmp_path / "out" / "cnn" / "history.csv").read_text()
    assert len(history.splitlines()) == 2

    def broken(*_):
        raise RuntimeError("no batches today")

    monkeypatch.setattr(compare, "training_batches", broken)  # of the vectors; tiles have fit's
    code, out, errors = command(*OPTIONS)
    assert code == 1
    assert "error: 1 of 2 systems failed: LBP and HOG, dense network" in errors
    assert "failed: RuntimeError: no batches today" in out
    assert (tmp_path / "out" / "cnn" / "history.csv").read_text().startswith(history)
    report = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert ["error" in row for row in report["rows"]] == [True, False]
    assert not (tmp_path / "out" / "lbp-hog" / "row.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--systems", "resnet"), "systems must be all or of ['efficientnetb0-frozen'"),
        (("--budget", 0), "budget must be at least 1, received 0"),
        (("--tile-size", 8), "tile-size must be at least 48, received 8"),
        (("--init", "no.keras"), "model must be an existing .keras file"),
        (("--data", "no.csv"), "data must be fer2013.csv"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(command, tmp_path, arguments, says):
    code, _, errors = command(*OPTIONS, *arguments)
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "out").exists()

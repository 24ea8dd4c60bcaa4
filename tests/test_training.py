"""Training, evaluation and export, from the command line, on drawn images."""

import csv
import dataclasses
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fer.labels import LABELS
from fer.recognizer import DEFAULT_BUNDLE
from tests.process import call
from tests.synthetic import drawn, rows, small_network, tree, write_csv, write_tree, write_zip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = drawn({"Training": 8, "PublicTest": 3, "PrivateTest": 3})


def command(*arguments, **environment):
    return [sys.executable, "-m", *map(str, arguments)], {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **environment,
    }


def run(*arguments, code=0, **environment):
    words, env = command(*arguments, **environment)
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("data") / "fer2013.csv", rows(DATA))


@pytest.fixture
def small_start(monkeypatch, cache):
    """Commands that run in this process build a small network."""
    from fer.nn import model as models

    monkeypatch.setattr(models, "build", small_network)
    monkeypatch.setenv("FER_CACHE_DIR", cache)


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory, data, cache):
    """A run killed in its second epoch, and what its folder held then."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    options = ("train", "--recipe", "smoke", "--init", "none", "--data", data, "--out", out)
    words, env = command(*options, FER_CACHE_DIR=cache)
    process = subprocess.Popen(
        words, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("last-*.keras")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint within five minutes"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = history(out)
    resumed = run(*options, "--resume", FER_CACHE_DIR=cache)
    return out, before, resumed


def test_a_killed_run_goes_on_and_loses_at_most_one_epoch(killed_and_resumed):
    out, before, resumed = killed_and_resumed
    after = history(out)
    assert [row["stage"] for row in after] == ["frozen", "whole"]
    assert len(before) >= 1
    assert after[0] == before[0]
    assert "epoch  stage" in resumed.stderr + resumed.stdout


def test_a_run_folder_holds_everything_that_decided_the_run(killed_and_resumed):
    out, _, _ = killed_and_resumed
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["name"] == "smoke"
    assert config["recipe"]["stages"][0]["train_backbone"] is False
    assert config["seed"] == 0
    assert config["training_images"] == 8 * len(LABELS)
    assert set(config) >= {"git_sha", "versions", "init", "class_counts"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["best"] in metrics["epochs"] == history(out)
    assert metrics["peak_memory_gib"] > 0.2
    for name in ("best.keras", "curves.png", "audit.json", "tensorboard/whole"):
        assert (out / name).exists(), name
    assert len(list(out.glob("last-*.keras"))) == 1
    assert not list(out.glob(".*")), "temporary files are left"


def test_a_run_is_not_overwritten_and_not_resumed_with_another_recipe(
    killed_and_resumed, data, cache
):
    out, _, _ = killed_and_resumed
    best = (out / "best.keras").read_bytes()
    options = ("train", "--init", "none", "--data", data, "--out", out)
    again = run(*options, "--recipe", "smoke", code=2, FER_CACHE_DIR=cache)
    assert "holds a run already" in again.stderr
    other = run(
        *options, "--recipe", "smoke", "--epochs", "3", "--resume", code=2, FER_CACHE_DIR=cache
    )
    assert "recipe differs from the run's config.json" in other.stderr
    assert (out / "best.keras").read_bytes() == best


@pytest.fixture(scope="module")
def exported(killed_and_resumed, tmp_path_factory, data, cache):
    out, _, _ = killed_and_resumed
    folder = tmp_path_factory.mktemp("exported")
    run("export", "--model", out / "best.keras", "--data", data, "--view", "fer2013",
        "--variants", "float32,float16", "--with-checkpoint", "--out", folder,
        FER_CACHE_DIR=cache)  # fmt: skip
    return folder


def test_export_writes_a_whole_bundle_for_each_variant(exported):
    from export.verify import verify
    from fer.recognizer import EmotionRecognizer
    from fer.spec import ModelSpec

    bundles = sorted(path for path in exported.iterdir() if path.is_dir())
    assert [path.name for path in bundles] == ["float16", "float32"]
    for bundle in bundles:
        assert ModelSpec.load(bundle).view == "fer2013"
        assert EmotionRecognizer.from_bundle(bundle).spec.tile_size == 64
        assert len(list((bundle / "golden").glob("*.png"))) == 20
        assert verify(bundle).faults == []
    sizes = {path.name: (path / "model.tflite").stat().st_size for path in bundles}
    assert sizes["float16"] < 0.55 * sizes["float32"]
    report = json.loads((exported / "benchmark.json").read_text())
    assert list(report["variants"]) == ["float32", "float16"]
    for name, row in report["variants"].items():
        manifest = json.loads((exported / name / "manifest.json").read_text())
        assert row["bytes"] == sizes[name] == manifest["files"]["model.tflite"]["bytes"]
        assert manifest["benchmark"]["latency_ms"] == row["latency_ms"]
        assert 0 < row["latency_ms"]["1"]["p50"] <= row["latency_ms"]["1"]["p95"]
        assert row["gzip_bytes"] < row["bytes"]
    assert (exported / "benchmark.png").stat().st_size > 5_000
    assert "| float16 | 8." in (exported / "benchmark.md").read_text()


def test_the_checkpoint_and_its_float32_export_score_the_same(exported, data, cache, tmp_path):
    reports = []
    for model in (exported / "float32" / "model.keras", exported / "float32" / "model.tflite"):
        path = tmp_path / f"{model.suffix}.json"
        done = run(
            "train.evaluate", "--model", model, "--data", data, "--split", "PrivateTest",
            "--json", path, "--plots", tmp_path / "plots", FER_CACHE_DIR=cache,
        )  # fmt: skip
        assert "weighted avg" in done.stdout
        reports.append(json.loads(path.read_text()))
    keras, lite = reports
    assert keras["view"] == lite["view"] == "fer2013"
    for key in (
        "accuracy",
        "accuracy_without_duplicates",
        "accuracy_flip_averaged",
        "per_class",
        "macro",
        "weighted",
        "confusion",
    ):
        assert keras[key] == lite[key], key
    assert keras["ece"] == pytest.approx(lite["ece"], abs=1e-4)
    assert keras["accuracy"]["n"] == 3 * len(LABELS)
    assert (tmp_path / "plots" / "confusion-PrivateTest.png").stat().st_size > 10_000


def test_every_form_of_the_data_scores_the_same(killed_and_resumed, cache, tmp_path, data):
    accuracies = []
    forms = (
        data,
        write_tree(tmp_path / "folder", tree(DATA)),
        write_zip(tmp_path / "fer2013.zip", tree(DATA)),
    )
    for index, form in enumerate(forms):
        path = tmp_path / f"{index}.json"
        run("train.evaluate", "--model", killed_and_resumed[0] / "best.keras", "--data", form,
            "--json", path, FER_CACHE_DIR=cache)  # fmt: skip
        accuracies.append(json.loads(path.read_text())["accuracy"])
    assert accuracies[0] == accuracies[1] == accuracies[2]


def test_photos_are_scored_through_the_whole_pipeline(killed_and_resumed, tmp_path, cache):
    astronaut = (ROOT / "examples" / "astronaut.png").read_bytes()
    write_tree(tmp_path / "photos", {"happy/a.png": astronaut, "sad/b.png": astronaut})
    report = tmp_path / "photos.json"
    options = ("train.evaluate", "--model", killed_and_resumed[0] / "best.keras", "--photos",
               tmp_path / "photos", "--json", report)  # fmt: skip
    refused = run(*options, code=2, FER_CACHE_DIR=cache)
    assert "trained without FER+ votes" in refused.stderr
    run(*options, "--view", "fer2013", FER_CACHE_DIR=cache)
    values = json.loads(report.read_text())
    assert values["view"] == "fer2013"
    assert values["faces_found"] == values["photos"] == 2
    assert set(values["recall"]) == {"happy", "sad"}
    assert values["mean_recall"] <= 0.5
    assert np.sum(values["confusion"]) == 2


def test_a_resumed_run_has_the_steps_and_the_rate_of_one_that_was_never_stopped(tmp_path):
    from fer.nn import fit as fitting
    from train.recipes import RECIPES

    smoke = dataclasses.replace(RECIPES["smoke"], tile_size=48)
    stage = dataclasses.replace(smoke.stages[0], epochs=2, schedule="cosine")
    recipe = dataclasses.replace(smoke, stages=(stage,))

    class PowerCutError(Exception):
        pass

    def once(*arguments):
        keep(*arguments)
        raise PowerCutError

    def train(folder, **options):
        folder.mkdir(exist_ok=True)
        return fitting.fit(folder, recipe, DATA.split("Training"), DATA.split("PublicTest"),
                           start=small_network, seed=0, **options)  # fmt: skip

    keep = fitting._keep_checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_keep_checkpoint", once)
        with pytest.raises(PowerCutError):
            train(tmp_path / "cut")
    before = fitting._optimizer_state(tmp_path / "cut" / "last-0-1.keras")
    train(tmp_path / "cut", resume=True)
    train(tmp_path / "whole")
    cut, whole = history(tmp_path / "cut"), history(tmp_path / "whole")
    assert [row["learning_rate"] for row in cut] == [row["learning_rate"] for row in whole]
    assert cut[0]["learning_rate"] != cut[1]["learning_rate"]
    assert int(before[0]) == len(DATA.split("Training")) // recipe.batch_size


def test_a_diverging_run_stops_with_the_last_good_checkpoint(tmp_path):
    from fer.nn.fit import TrainingError, fit
    from train.recipes import RECIPES

    smoke = dataclasses.replace(RECIPES["smoke"], tile_size=48, clip_norm=0.0)
    wild = dataclasses.replace(smoke.stages[1], learning_rate=1e30, schedule="constant")
    recipe = dataclasses.replace(smoke, stages=(smoke.stages[0], wild))
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in stage 'whole'"):
        fit(tmp_path, recipe, DATA.split("Training"), DATA.split("PublicTest"),
            start=small_network, seed=0)  # fmt: skip
    assert (tmp_path / "best.keras").exists()
    assert (tmp_path / "last-1-0.keras").exists()
    assert len(history(tmp_path)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "--out", "{tmp}/x", "--data", "{tmp}/no.csv"), "data must be fer2013.csv"),
        (("train", "--out", "{tmp}/x", "--data", "{data}", "--init", "no.keras"),
         "model must be an existing .keras file"),
        (("train", "--out", "{tmp}/x", "--data", "{data}", "--exclude", "{tmp}/no.txt"),
         "exclude: cannot read"),
        (("train.evaluate", "--model", "{tmp}/no.keras", "--data", "{data}"),
         "model must be an existing .keras"),
        (("train.evaluate", "--model", "{tmp}/no.tflite", "--data", "{data}"),
         "model must be an existing .keras or .tflite"),
        (("export", "--model", "{data}", "--data", "{data}", "--out", "{tmp}/x"),
         "model must be an existing .keras file"),
        (("export", "--model", "{data}", "--data", "{data}", "--out", "{tmp}/x",
          "--variants", "int4"), "variants must be all or of"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_and_exit_2(
    arguments, says, tmp_path, data, cache, monkeypatch
):
    module, *filled = [argument.format(tmp=tmp_path, data=data) for argument in arguments]
    package = module if module == "train.evaluate" else f"{module}.__main__"
    monkeypatch.setenv("FER_CACHE_DIR", cache)
    code, _, errors = call(importlib.import_module(package)._main, *filled)
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "x" / "float32").exists()


def test_a_run_that_cannot_be_resumed_says_so(tmp_path, data, cache):
    done = run("train", "--recipe", "smoke", "--data", data, "--out", tmp_path, "--resume",
               code=1, FER_CACHE_DIR=cache)  # fmt: skip
    assert "nothing to resume" in done.stderr


def test_the_audit_prints_and_writes_what_it_found(tmp_path, data, cache):
    report = tmp_path / "audit.json"
    done = run("train.audit", "--data", data, "--json", report, FER_CACHE_DIR=cache)
    values = json.loads(report.read_text())
    assert set(values["counts"]) == {
        "Training in PublicTest",
        "Training in PrivateTest",
        "PublicTest in PrivateTest",
        "Training in Training",
    }
    assert f"training drops {len(values['training_drops'])} images" in done.stdout


def test_a_teachers_answers_are_learned_besides_the_labels(small_start, tmp_path, data):
    import train.__main__ as command
    from fer.nn import model as models

    teacher = tmp_path / "teacher.keras"
    models.save(small_network(), teacher)
    options = ("--recipe", "smoke", "--init", "none", "--data", data,
               "--epochs", "1", "--out", tmp_path / "student")  # fmt: skip
    code, _, errors = call(command._main, *options, "--teacher", tmp_path / "no.keras")
    assert code == 2
    assert "no.keras must be an existing file" in errors
    assert call(command._main, *options, "--teacher", teacher, "--images", "21")[0] == 0
    (kept,) = (tmp_path / "student").glob("targets-*.npy")
    targets = np.load(kept)
    labels = targets.argmax(axis=1)
    assert targets.shape == (21, len(LABELS))
    assert targets.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.bincount(labels, minlength=7).tolist() == [3] * 7, "the label has the larger share"
    assert 0.5 <= targets.max(axis=1).mean() < 1, "the teacher has the rest"
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert len(config["teachers"]) == 1


def test_a_stage_on_smaller_tiles_ends_in_a_network_for_the_recipes(tmp_path, monkeypatch):
    from fer.nn import fit as fitting
    from fer.nn import model as models
    from train.recipes import RECIPES

    batches = fitting.training_batches
    sizes = []

    def watched(data, size, *arguments, **options):
        sizes.append(size)
        return batches(data, size, *arguments, **options)

    monkeypatch.setattr(fitting, "training_batches", watched)

    smoke = RECIPES["smoke"].with_epochs(1)
    small = dataclasses.replace(smoke.stages[1], tile_size=48)
    whole = dataclasses.replace(smoke.stages[1], name="last")
    recipe = dataclasses.replace(smoke, tile_size=64, stages=(small, whole))
    fitting.fit(tmp_path, recipe, DATA.split("Training"), DATA.split("PublicTest"),
                start=small_network, seed=0)  # fmt: skip
    assert sizes == [48, 64]
    assert [row["stage"] for row in history(tmp_path)] == ["whole", "last"]
    for name in ("last-2-0.keras", "best.keras"):
        assert models.load_checkpoint(tmp_path / name).input_shape == (None, 64, 64, 3)


def test_frozen_blocks_keep_their_weights_and_the_rest_learns(tmp_path):
    from fer.nn import fit as fitting
    from train.recipes import RECIPES

    def weights(model, name):
        return np.concatenate([w.ravel() for w in model.get_layer("backbone").get_layer(name)
                               .get_weights()])  # fmt: skip

    smoke = RECIPES["smoke"].with_epochs(1)
    stage = dataclasses.replace(smoke.stages[1], tile_size=48, frozen_blocks=2)
    recipe = dataclasses.replace(smoke, tile_size=48, stages=(stage,), ema=0.0)
    from fer.nn import model as models

    started = models.build(48, init="none", dropout=0.3)
    before = {name: weights(started, name) for name in ("stem_bn", "block2a_bn", "block3a_bn")}
    best = fitting.fit(tmp_path, recipe, DATA.split("Training"), DATA.split("PublicTest"),
                       start=lambda: started, seed=0)  # fmt: skip
    after = models.load_checkpoint(best)
    changed = {name: not np.array_equal(weights(after, name), old) for name, old in before.items()}
    assert changed == {"stem_bn": False, "block2a_bn": False, "block3a_bn": True}


def test_a_linear_probe_learns_what_is_linear_and_the_command_reports_it(
    small_start, tmp_path, data, monkeypatch
):
    import train.probe
    from train.probe import probe

    monkeypatch.setattr(train.probe, "_STEPS", 600)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 600)
    directions = rng.normal(0, 3, (7, 20))
    vectors = (directions[labels] + rng.normal(0, 1, (600, 20))).astype(np.float32)
    seen, unseen = probe(vectors[:400], labels[:400], vectors[400:], labels[400:], 0.01)
    assert seen.value > 0.9
    assert unseen.value > 0.9
    assert unseen.n == 200
    noise = rng.normal(0, 1, (600, 20)).astype(np.float32)
    _, guessed = probe(noise[:400], labels[:400], noise[400:], labels[400:], 0.01)
    assert guessed.value < 0.35

    report = tmp_path / "probe.json"
    options = ("--data", data, "--init", "none", "--tile-size", "48", "--json", report)
    code, out, _ = call(train.probe._main, *options)
    assert code == 0
    assert out.count("95% interval") == 4
    values = json.loads(report.read_text())
    assert values["images"] == 8 * len(LABELS)
    assert values["public_test_accuracy"]["n"] == 3 * len(LABELS)


def test_shares_of_the_blend_are_scored_on_photos_and_tiles(tmp_path, data, cache, astronaut):
    photos = tmp_path / "photos" / "happy"
    photos.mkdir(parents=True)
    shutil.copy(astronaut, photos / "a.png")
    report = tmp_path / "blend.json"
    options = ("train.blend", "--model", DEFAULT_BUNDLE / "model.keras", "--data", data)
    done = run(*options, "--photos", photos.parent, "--json", report, FER_CACHE_DIR=cache)
    table = json.loads(report.read_text())
    assert [row["view"] for row in table if row["view"]] == ["fer2013", "blend", "ferplus"]
    assert all(row["recall"] == {"happy": 1.0} for row in table)
    assert done.stdout.count("95% interval") == len(table)


def test_levers_are_compared_once_each_and_in_one_table(small_start, tmp_path, data):
    from train import ablate

    options = ("--data", data, "--init", "none", "--images", "64", "--epochs", "1",
               "--levers", "recipe,without mixup", "--out", tmp_path)  # fmt: skip
    code, first, _ = call(ablate._main, *options)
    assert code == 0
    rows = [line for line in first.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| lever", "| recipe", "| without mixup"]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/row.json")}
    assert len(stamps) == 2
    assert not list(tmp_path.glob("*/*.keras"))
    _, again, _ = call(ablate._main, *options)
    assert again.splitlines()[-3:] == first.splitlines()[-3:]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    code, _, errors = call(ablate._main, *options[:-6], "--epochs", "2", *options[-4:])
    assert code == 2
    assert "choose another --out" in errors
    code, _, errors = call(ablate._main, *options, "--levers", "luck")
    assert code == 2
    assert "levers must be all or of" in errors

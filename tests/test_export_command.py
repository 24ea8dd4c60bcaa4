"""The export's commands: what they write, what they refuse, what an interruption leaves."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from export import parity, verify
from fer.nn import dataset
from fer.recognizer import DEFAULT_BUNDLE
from fer.runtime import MODEL_FILE
from fer.tile import make_tile
from tests.process import python
from tests.synthetic import drawn, rows, write_csv

pytestmark = pytest.mark.slow

DATA = drawn({"Training": 2, "PublicTest": 3})


@pytest.fixture
def export(tmp_path, monkeypatch, capsys, float32, inference):
    """Runs the command in this process on a ready float32 file; returns exit code and output."""
    import export.__main__ as command
    from train.command import run

    def built(job, name):
        (job.folder / f"{name}.tflite").write_bytes(float32)
        return job.folder / f"{name}.tflite"

    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "_build", built)
    # The file is there already, so the temperature that was fitted to drawings must not matter.
    monkeypatch.setattr(command.models, "inference_model", lambda *_: inference)
    monkeypatch.setattr(command.benchmark, "measure", lambda *_: None)
    monkeypatch.setattr(command.benchmark, "table", lambda _: "")
    data = write_csv(tmp_path / "fer2013.csv", rows(DATA))

    def start(variant, *more, model=DEFAULT_BUNDLE / "model.keras", data=data):
        options = ("--model", model, "--data", data, "--out", tmp_path / "out",
                   "--variants", variant, *more)  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["export", *map(str, options)])
        try:
            run(command._main, command.KEPT)
        except SystemExit as stopped:
            return stopped.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return start


def left(tmp_path):
    out = tmp_path / "out"
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


def test_a_bundle_is_written_whole_and_replaced_only_on_demand(
    export, tmp_path, monkeypatch, capsys
):
    assert export("float32")[0] == 0
    assert left(tmp_path) == ["export.json", "float32"]
    bundle = tmp_path / "out" / "float32"
    assert verify.verify(bundle).faults == []
    (bundle / "labels.txt").write_text("mine")
    code, _, said = export("float32")
    assert code == 2
    assert said.endswith(f"{bundle} exists already: add --overwrite\n")
    assert (bundle / "labels.txt").read_text() == "mine"
    assert export("float32", "--overwrite")[0] == 0
    assert verify.verify(bundle).faults == []


def test_a_second_call_adds_to_what_the_first_wrote_of_the_same_model(
    export, tmp_path, monkeypatch
):
    import export.__main__ as command

    measured = []
    monkeypatch.setattr(
        command.benchmark, "measure", lambda _, bundles: measured.append([b.name for b in bundles])
    )
    loose = parity.check
    monkeypatch.setattr(parity, "check", lambda file, reference, _: loose(
        file, reference, command.VARIANTS["float32"]))  # fmt: skip
    assert export("float16")[0] == export("float32")[0] == 0
    rows = json.loads((tmp_path / "out" / "export.json").read_text())
    assert [row["variant"] for row in rows] == ["float32", "float16"]
    assert measured == [["float16"], ["float32", "float16"]]
    export("float32", "--overwrite", "--view", "fer2013")
    rows = json.loads((tmp_path / "out" / "export.json").read_text())
    assert [row["variant"] for row in rows] == ["float32"]


def test_ranges_come_from_training_images_alone_as_many_of_each_class(
    export, tmp_path, monkeypatch
):
    import export.build as build

    written = []
    monkeypatch.setattr(build.Job, "write", lambda job, *tiles: written.append(tiles))
    export("float32,qat_int8")
    ((ranges, (lessons, answers)),) = written
    training = DATA.split("Training")
    tiles = [make_tile(image, ranges.shape[1]) for image in training.images]
    known = {tile.tobytes(): label for tile, label in zip(tiles, training.labels, strict=True)}
    assert sorted(known[tile.tobytes()] for tile in ranges) == sorted(training.labels)
    whole = {np.rint(tile).astype(np.uint8).tobytes() for tile in tiles}
    assert {tile.tobytes() for tile in lessons} == whole
    assert answers.shape == (len(lessons), 7)


def test_a_balanced_choice_has_as_many_of_each_class_and_is_the_same_again():
    many = drawn({"Training": 6})
    chosen = dataset.balanced(many, 4)
    assert np.bincount(chosen.labels).tolist() == [4] * 7
    assert (dataset.balanced(many, 4).names == chosen.names).all()
    assert (dataset.balanced(many, 4, seed=1).names != chosen.names).any()


def test_the_command_writes_nothing_when_the_gate_is_shut(export, tmp_path, monkeypatch):
    def shut(*_):
        raise parity.ParityError("weight_only_int8: label agreement 50% (at least 97%)")

    monkeypatch.setattr(parity, "check", shut)
    code, out, _ = export("weight_only_int8")
    assert code == 1
    assert "not written: weight_only_int8: label agreement 50%" in out
    assert left(tmp_path) == ["export.json"]


def test_data_without_publictest_is_refused(export, tmp_path):
    only = DATA.take(DATA.splits == "Training")
    code, _, said = export("float32", data=write_csv(tmp_path / "some.csv", rows(only)))
    assert code == 2
    assert said.startswith("error: ")
    assert "'PublicTest'" in said
    assert left(tmp_path) == []


def test_no_room_on_disk_leaves_no_half_bundle(export, tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        if path.name == MODEL_FILE:
            write(path, content[:1000])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, said = export("float32")
    assert code == 1
    assert "No space left on device" in said
    assert left(tmp_path) == []


@pytest.mark.parametrize("after", [1, 2])
def test_an_interruption_between_two_renames_keeps_a_whole_bundle(
    export, tmp_path, monkeypatch, after
):
    assert export("float32")[0] == 0
    rename, done = Path.rename, []

    def interrupted(path, target):
        moved = rename(path, target)
        if "float32" in path.name:
            done.append(path)
            if len(done) == after:
                raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    assert export("float32", "--overwrite")[0] == 130
    assert left(tmp_path) == ["export.json", "float32"]
    assert verify.verify(tmp_path / "out" / "float32").faults == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_bundles_that_were_there(export, tmp_path, monkeypatch, how):
    assert export("float32")[0] == 0
    before = (tmp_path / "out" / "float32" / "manifest.json").read_bytes()
    monkeypatch.setattr(parity, "check", lambda *_: os.kill(os.getpid(), how))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's "&"
    code, _, said = export("float32,float16", "--overwrite")
    assert code == 128 + how
    assert said.splitlines()[-1] == "error: interrupted; bundles that were written are whole"
    assert left(tmp_path) == ["export.json", "float32"]
    assert (tmp_path / "out" / "float32" / "manifest.json").read_bytes() == before


def test_a_model_with_other_classes_or_another_extractor_is_refused(export, tmp_path):
    import keras

    from fer.nn import model as models

    image = keras.Input((48, 48, 3), name="image")
    luminance = keras.layers.Conv2D(3, 1, use_bias=False, name="luminance")(image)
    inside = keras.Input((None, None, 3))
    small = keras.Model(inside, keras.layers.Conv2D(8, 3, 16)(inside), name="backbone")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(small(luminance))
    for classes, says in ((5, "must have the classes"), (7, "must be an EfficientNetB0")):
        heads = {
            head: keras.layers.Dense(classes, name=head, kernel_initializer="ones")(pooled)
            for head in models.HEADS
        }
        path = tmp_path / f"{classes}.keras"
        models.save(keras.Model(image, heads), path)
        code, _, said = export("float32", model=path)
        assert code == 2
        (line,) = said.splitlines()
        assert says in line
    assert left(tmp_path) == []


def test_a_variant_that_cannot_be_built_says_why(tmp_path):
    from export.__main__ import _build
    from export.build import Job

    job = Job(tmp_path, Path("no.keras"), "blend", 1.0)
    job.write(np.zeros((1, 48, 48, 3), np.float32))
    with pytest.raises(parity.ParityError, match=r"cannot be built: .*no\.keras"):
        _build(job, "float32")


def test_a_folder_without_bundles_cannot_be_measured(tmp_path, monkeypatch, capsys):
    from export import benchmark
    from train.command import run

    monkeypatch.setattr(sys, "argv", ["benchmark", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        run(benchmark._main)
    assert stopped.value.code == 2
    assert "DIR must hold bundles of python -m export" in capsys.readouterr().err


def test_a_bundle_is_verified_where_there_is_no_tensorflow():
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'tf_keras'): sys.modules[name] = None\n"
        "from export import verify\n"
        f"sys.argv = ['verify', {str(DEFAULT_BUNDLE)!r}, '--json']\n"
        "sys.exit(verify._main())"
    )
    assert len(json.loads(python(code))["differences"]) == 20

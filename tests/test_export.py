"""Export: what variants promise, the gate that holds them to it, bundles that can be checked."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export import bundle, flatbuffer, parity, verify
from export.golden import golden_tiles
from export.recipes import VARIANTS, Converted, PostTraining, Retrained
from fer.labels import LABELS
from fer.metrics import softmax
from fer.recognizer import DEFAULT_BUNDLE
from fer.runtime import MODEL_FILE, TileClassifier
from tests.process import python

STATIC = "full_int8", "full_int8_float_io", "mixed_int8", "int16x8"


def test_the_table_has_what_the_readme_lists_and_bounds_that_can_fail():
    methods = {type(variant.method) for variant in VARIANTS.values()}
    assert methods == {Converted, PostTraining, Retrained}
    for name, variant in VARIANTS.items():
        promise = variant.promise
        assert name == variant.name
        assert 0 < promise.megabytes[0] < promise.megabytes[1] < 17
        assert promise.max_difference < 1
        assert 0.5 <= promise.min_agreement <= 1
    assert [name for name, variant in VARIANTS.items() if not variant.published] == [
        "converter_int8"
    ]


def shipped():
    return (DEFAULT_BUNDLE / MODEL_FILE).read_bytes()


def field(table, number):
    """Position of a table's field, or 0."""
    offset = table.Offset(4 + 2 * number)
    return table.Pos + offset if offset else 0


def string(table, number):
    return table.String(field(table, number)).decode()


def tables(table, number):
    """Tables of a vector."""
    vector = table.Vector(field(table, number) - table.Pos)
    count = table.VectorLen(field(table, number) - table.Pos)
    return [
        flatbuffers.table.Table(table.Bytes, table.Indirect(vector + 4 * index))
        for index in range(count)
    ]


def floats(table, number):
    start = table.Vector(field(table, number) - table.Pos)
    count = table.VectorLen(field(table, number) - table.Pos)
    return np.frombuffer(table.Bytes, "<f4", count, start).tolist()


def union(table, number):
    """The number of a union's kind, and its table."""
    kind = table.Bytes[field(table, number)]
    place = field(table, number + 1)
    return kind, flatbuffers.table.Table(table.Bytes, table.Indirect(place))


def test_metadata_reads_back_and_changes_no_answer(tmp_path):
    plain = shipped()
    content = flatbuffer.with_metadata(plain, name="a name", description="what it does")
    assert flatbuffer.with_metadata(content, name="a name", description="what it does") == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode().split() == list(LABELS)
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    root = flatbuffers.table.Table(data, int.from_bytes(data[:4], "little"))
    assert string(root, 0) == "a name"
    assert string(root, 1) == "what it does"
    (graph,) = tables(root, 3)
    (image,) = tables(graph, 2)
    kind, normalization = union(tables(image, 4)[0], 0)
    assert kind == 1
    assert (floats(normalization, 0), floats(normalization, 1)) == ([0.0], [1.0])
    outputs = tables(graph, 3)
    assert [string(output, 0) for output in outputs] == flatbuffer.outputs(content)
    labelled = outputs[flatbuffer.outputs(content).index("probabilities")]
    (labels,) = tables(labelled, 6)
    assert string(labels, 0) == "labels.txt"
    assert labels.Bytes[field(labels, 2)] == 2

    file = tmp_path / MODEL_FILE
    file.write_bytes(content)
    tiles = np.stack([*golden_tiles(TileClassifier(file).tile_size).values()][:3])
    answers = [
        TileClassifier(path).predict(tiles.astype(np.float32)).probabilities
        for path in (file, DEFAULT_BUNDLE / MODEL_FILE)
    ]
    assert np.array_equal(*answers)


@pytest.mark.slow
def test_a_file_without_its_evidence_gives_the_same_probabilities(float32, tmp_path):
    files = tmp_path / "whole.tflite", tmp_path / "less.tflite"
    files[0].write_bytes(float32)
    files[1].write_bytes(flatbuffer.without_output(float32, "evidence"))
    whole, less = (TileClassifier(path) for path in files)
    tiles = np.full((1, whole.tile_size, whole.tile_size, 3), 99, np.float32)
    assert np.array_equal(whole.predict(tiles).probabilities, less.predict(tiles).probabilities)
    assert less.predict(tiles).evidence.shape == (1, 0, 0, 7)


def test_constants_are_counted_by_type():
    counts = flatbuffer.constants(shipped())
    assert counts["int8"] > 0.95 * counts.total()
    assert 3.9e6 < counts.total() < 4.2e6


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    return folder


def check_bundle(folder, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["verify", str(folder), *arguments])
    code = verify._main()
    return code, *capsys.readouterr()


def test_the_shipped_bundle_keeps_its_word(monkeypatch, capsys):
    code, out, err = check_bundle(DEFAULT_BUNDLE, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "20 of 20 golden tiles within" in out
    code, out, _ = check_bundle(DEFAULT_BUNDLE, monkeypatch, capsys, "--json")
    assert json.loads(out)["faults"] == []


def test_a_changed_answer_a_changed_tile_and_a_missing_file_are_found(copied, monkeypatch, capsys):
    path = copied / "golden" / "golden.json"
    golden = json.loads(path.read_text())
    golden["probabilities"]["face"] = [*golden["probabilities"]["face"][1:], 0.0]
    path.write_text(json.dumps(golden))
    code, out, err = check_bundle(copied, monkeypatch, capsys)
    assert code == 1
    assert "19 of 20 golden tiles" in out
    assert "error: golden/golden.json is missing or was changed" in err
    assert "error: face: a probability differs by" in err

    (copied / "golden" / "face.png").unlink()
    (copied / "LICENSE").write_text("mine now")
    code, _, err = check_bundle(copied, monkeypatch, capsys)
    assert code == 1
    assert "golden/face.png is missing" in err
    assert "LICENSE is missing or was changed" in err


def test_another_model_in_the_bundle_is_found(copied, monkeypatch, capsys):
    (copied / MODEL_FILE).write_bytes(
        flatbuffer.with_metadata(shipped(), name="another", description="of the same size")
    )
    code, _, err = check_bundle(copied, monkeypatch, capsys)
    assert code == 1
    assert err == "error: model.tflite is missing or was changed\n"


@pytest.mark.parametrize("missing", ["manifest.json", "golden/golden.json"])
def test_a_folder_that_is_no_bundle_is_refused(copied, monkeypatch, capsys, missing):
    (copied / missing).unlink()
    code, _, err = check_bundle(copied, monkeypatch, capsys)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: BUNDLE must be a bundle of python -m export")


@pytest.fixture(scope="module")
def reference(inference):
    """The golden tiles, with the labels that the Keras model gives them."""
    tiles = np.stack([*golden_tiles(inference.input_shape[1]).values()]).astype(np.float32)
    answers = inference.predict(tiles, verbose=0)
    probabilities = answers["probabilities"]
    labels = probabilities.argmax(axis=1)
    return parity.Reference(tiles, labels, probabilities, answers["evidence"], labels)


@pytest.fixture(scope="module")
def job(float32, reference, tmp_path_factory):
    """What variants are built from; the golden tiles are both representative and lessons."""
    from export.build import FLOAT32, Job

    job = Job(tmp_path_factory.mktemp("job"), DEFAULT_BUNDLE / "model.keras", "blend", 1.0)
    job.write(reference.tiles, (reference.tiles.astype(np.uint8), reference.probabilities))
    (job.folder / FLOAT32).write_bytes(float32)
    return job


def quantized(name, job):
    from export.build import build

    return build(job, VARIANTS[name])


def any_answer(name):
    """A variant held to its types, operators and size alone: drawings are no faces."""
    variant = VARIANTS[name]
    promise = dataclasses.replace(
        variant.promise,
        max_difference=1,
        mean_difference=1,
        min_agreement=0,
        max_drop=100,
        max_calibration_loss=1,
        min_evidence_correlation=0,
    )
    return dataclasses.replace(variant, promise=promise)


DIFFERENT = r"than promised|constants|\((uint8|float32)\)|it should"
"""What the gate says of a file of another variant: its operators, its weights or its ends."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weight_only_int8", "dynamic_int8", *STATIC])
def test_a_quantized_file_is_what_its_variant_promises(name, job, reference, tmp_path):
    file = tmp_path / MODEL_FILE
    file.write_bytes(quantized(name, job))
    result = parity.check(file, reference, any_answer(name))
    assert result.bytes < 5.5e6
    # Every other variant promises something that this file is not.
    for other in ("float32", "weight_only_int8", "full_int8", "full_int8_float_io", "mixed_int8"):
        if other != name:
            with pytest.raises(parity.ParityError, match=DIFFERENT):
                parity.check(file, reference, any_answer(other))
    manifest = bundle.tensors(file)
    image = manifest["inputs"]["image"]
    assert image["dtype"] == VARIANTS[name].promise.input_type
    if image["dtype"] == "uint8":
        assert (image["scale"], image["zero_point"]) == (1.0, 0)


def broken(file, reference, variant, match):
    with pytest.raises(parity.ParityError, match=match):
        parity.check(file, reference, VARIANTS[variant])


@pytest.mark.slow
def test_the_gate_lets_the_right_file_through_and_no_other(float32, reference, tmp_path):
    file = tmp_path / MODEL_FILE
    file.write_bytes(float32)
    result = parity.check(file, reference, VARIANTS["float32"])
    assert result.max_difference <= 1e-4
    assert result.drop == 0
    assert result.operators["CONV_2D float32"] > 60

    order = [1, 2, 3, 4, 5, 6, 0]
    swapped = dataclasses.replace(reference, probabilities=reference.probabilities[:, order])
    broken(file, swapped, "float32", "label agreement")
    wrong = dataclasses.replace(reference, probabilities=softmax(3 * reference.probabilities))
    broken(file, wrong, "float32", "largest probability difference")
    nothing = dataclasses.replace(
        reference, probabilities=np.full_like(reference.probabilities, np.nan)
    )
    broken(file, nothing, "float32", "mean probability difference nan")
    lucky = dataclasses.replace(reference, labels=(reference.labels + 1) % 7)
    worse = dataclasses.replace(lucky, probabilities=np.eye(7, dtype=np.float32)[lucky.labels])
    broken(file, worse, "float32", "accuracy drop 100.00 points")
    sure = np.eye(7, dtype=np.float32)[reference.labels]
    broken(
        file,
        dataclasses.replace(reference, probabilities=sure),
        "float32",
        "calibration error 0.[0-9]+ above the Keras model's",
    )

    file.write_bytes(float32[: len(float32) // 2])
    broken(file, reference, "float32", "cannot run")
    spoiled = bytearray(float32)
    spoiled[len(float32) // 2 : len(float32) // 2 + 400_000] = bytes(400_000)
    file.write_bytes(spoiled)
    broken(file, reference, "float32", "probability difference|cannot run")
    file.write_bytes(flatbuffer.without_output(float32, "evidence"))
    broken(file, reference, "float32", "the evidence map is missing")
    file.write_bytes(float32)
    for turned in (reference.evidence[:, ::-1], reference.evidence[:, :, ::-1]):
        other = dataclasses.replace(reference, evidence=turned)
        broken(file, other, "float32", "evidence map correlates")


@pytest.mark.slow
def test_the_gate_refuses_probabilities_of_another_scale(job, reference, tmp_path):
    """Divided by their sum, as hosts do, they would still be right."""
    model = flatbuffer._read(quantized("full_int8", job))
    graph = model.subgraphs[0]
    graph.tensors[graph.outputs[0]].quantization.scale = [1 / 128]
    file = tmp_path / MODEL_FILE
    file.write_bytes(flatbuffer._write(model))
    with pytest.raises(parity.ParityError, match="scale 1/256"):
        parity.check(file, reference, any_answer("full_int8"))


@pytest.mark.slow
def test_the_gate_refuses_operators_that_are_not_litert_s_own(float32, reference, tmp_path):
    model = schema.ModelT.InitFromPackedBuf(float32, 0)
    (softmax,) = [c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX]
    softmax.builtinCode = softmax.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    softmax.customCode = b"FlexSoftmax"
    builder = flatbuffers.Builder(1 << 24)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    file = tmp_path / MODEL_FILE
    file.write_bytes(builder.Output())
    assert flatbuffer.custom_operators(file.read_bytes()) == ["FlexSoftmax"]
    broken(file, reference, "float32", "needs operators outside LiteRT's own .FlexSoftmax")


@pytest.mark.slow
def test_the_gate_refuses_a_file_that_is_quantized_in_half(float32, reference, tmp_path):
    from export.quantize import quantize

    half = dataclasses.replace(VARIANTS["full_int8_float_io"].promise, float_layers="block[4567]")
    method = VARIANTS["full_int8_float_io"].method
    file = tmp_path / MODEL_FILE
    file.write_bytes(quantize(float32, method, half, reference.tiles))
    broken(file, reference, "full_int8_float_io", "computes otherwise than promised")
    broken(file, reference, "full_int8_float_io", "of the constants are int8")


@pytest.mark.slow
def test_the_gate_refuses_weights_left_outside_the_file(reference, tmp_path):
    """What the converter does, silently, with a Keras 3 model beside its function."""
    import keras
    import tensorflow as tf

    side = reference.tiles.shape[1]
    image = keras.Input((side, side, 3))
    evidence = keras.layers.Conv2D(7, 32, 32)(image)
    pooled = keras.layers.GlobalAveragePooling2D()(evidence)
    model = keras.Model(image, [keras.layers.Softmax()(pooled), evidence])

    @tf.function(input_signature=[tf.TensorSpec((1, side, side, 3), tf.float32, name="image")])
    def classify(image):
        return dict(zip(("probabilities", "evidence"), model(image), strict=True))

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [classify.get_concrete_function()], model
    )
    file = tmp_path / MODEL_FILE
    file.write_bytes(converter.convert())
    broken(file, reference, "float32", "weights are not frozen")


@pytest.mark.slow
@pytest.mark.parametrize("number", [3e38, np.inf, np.nan])
def test_the_gate_refuses_numbers_that_are_none(float32, reference, monkeypatch, tmp_path, number):
    file = tmp_path / MODEL_FILE
    file.write_bytes(float32)
    answer = parity._predict(file, reference.tiles)
    answer.evidence[...] = number
    monkeypatch.setattr(parity, "_predict", lambda *_: answer)
    broken(file, reference, "float32", "evidence")


@pytest.mark.slow
def test_the_gate_refuses_a_file_that_is_not_as_small_as_pruning_makes_it(job, reference, tmp_path):
    file = tmp_path / MODEL_FILE
    file.write_bytes(quantized("weight_only_int8", job))
    broken(file, reference, "pruned_int8", "MB compressed")
    broken(file, reference, "clustered_int8", "MB compressed")


@pytest.mark.slow
def test_a_variant_that_is_trained_starts_equal_and_ends_as_promised(job, reference, tmp_path):
    """In a process of its own, as importing tfmot switches TensorFlow to Keras 2."""
    code = (
        "import dataclasses, sys; from pathlib import Path; from export import build;"
        "from export.recipes import VARIANTS; job = build.Job.read(Path(sys.argv[1]));"
        "v = VARIANTS['qat_int8']; m = dataclasses.replace(v.method, steps=1);"
        "content = build.build(job, dataclasses.replace(v, method=m));"
        "Path(sys.argv[2]).write_bytes(content)"
    )
    file = tmp_path / MODEL_FILE
    python(code, job.folder, file)
    parity.check(file, reference, any_answer("qat_int8"))


MEDIAPIPE = Path(__file__).parents[1] / ".venv-mediapipe" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float32", "full_int8"])
def test_mediapipe_tasks_takes_the_file_and_says_the_same(name, float32, job, reference, tmp_path):
    import os

    from PIL import Image

    if not MEDIAPIPE.exists() and not os.environ.get("CI"):
        pytest.skip("make .venv-mediapipe/installed")
    if name == "float32":
        content = flatbuffer.without_output(float32, "evidence")
    else:
        content = quantized(name, job)
    file = tmp_path / MODEL_FILE
    file.write_bytes(flatbuffer.with_metadata(content, name=name, description="seven expressions"))

    tile = Image.fromarray(reference.tiles[0].astype(np.uint8))
    tile.save(tmp_path / "tile.png")
    side = tile.width
    photo = Image.new("RGB", (4 * side, 2 * side), (90, 120, 60))
    photo.paste(tile, (side, side // 2))
    photo.save(tmp_path / "photo.png")
    expected = TileClassifier(file).predict(reference.tiles[:1]).probabilities[0]
    for arguments in (["tile.png"], ["photo.png", "0.25", "0.25", "0.5", "0.75"]):
        done = subprocess.run(
            [MEDIAPIPE, Path(__file__).parent / "mediapipe_classify.py", file, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        assert [answer[label] for label in LABELS] == pytest.approx(expected, abs=5e-3)

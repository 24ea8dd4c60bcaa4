"""What ``python -m export.phone`` writes, without opening it."""

import json
import re
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.phone import packages, page
from export.phone.__main__ import main
from fer.faces import BLAZEFACE_FILE
from fer.recognizer import DEFAULT_BUNDLE
from fer.spec import ModelSpec


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 144), (384, 512)])
def test_detector_of_another_size_is_the_resized_one(height, width):
    content = BLAZEFACE_FILE.read_bytes()
    changed = bytearray(content)
    for offset, down, across in page.shape_places(content):
        place = slice(offset, offset + 4)
        value = int.from_bytes(changed[place], "little")
        scaled = value * (height / 128) ** down * (width / 128) ** across
        assert scaled == int(scaled)
        changed[place] = int(scaled).to_bytes(4, "little")
    fixed, resized = Interpreter(model_content=bytes(changed)), Interpreter(model_content=content)
    shape = (1, height, width, 3)
    resized.resize_tensor_input(resized.get_input_details()[0]["index"], shape)
    pixels = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    answers = []
    for interpreter in (fixed, resized):
        assert tuple(interpreter.get_input_details()[0]["shape"]) == shape
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        ends = [output["index"] for output in interpreter.get_output_details()]
        answers.append([interpreter.get_tensor(end) for end in ends])
    for here, there in zip(*answers, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4)


def test_handover_has_all_that_an_app_needs(unpacked):
    for name in ("LICENSE", "NOTICE", "web/index.html"):
        assert (unpacked / name).is_file()
    model = unpacked / "models" / "full_int8_float_io" / "model.tflite"
    assert model.read_bytes() == (DEFAULT_BUNDLE / "model.tflite").read_bytes()
    for variant in ("full_int8_float_io", "float16", "float32", "mixed_int8"):
        wanted = ("labels.txt", "manifest.json", "MODEL_CARD.md", "golden/golden.json")
        for name in (*wanted, "golden/face.png"):
            assert (unpacked / "models" / variant / name).is_file()
    assert not list(unpacked.rglob("*.keras"))
    guide = (unpacked / "README.md").read_text()
    assert "112 x 112" in guide
    assert "{" not in re.sub(r"```.*?```", "", guide, flags=re.DOTALL)
    assert json.loads((unpacked / "detector" / "detector.json").read_text())["native"] == 128
    with zipfile.ZipFile(unpacked.parent / "phone.zip") as archive:
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}


def test_every_file_that_the_handovers_guides_name_is_there(unpacked):
    variant = ModelSpec.load(DEFAULT_BUNDLE).variant
    for place in (".", "android", "ios"):
        text = (unpacked / place / "README.md").read_text().replace("<variant>", variant)
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        named = re.findall(r"\]\((?!http)([^)]+)\)", prose)
        named += re.findall(r"`((?:models|detector|mediapipe|web|android|ios)/[^`]*)`", prose)
        assert named
        for name in named:
            assert any((unpacked / base / name).exists() for base in (place, ".")), (place, name)


def test_own_javascript_is_small_enough_to_read():
    text = "\n".join(path.read_text(encoding="utf-8") for path in page.SOURCE.glob("*.js"))
    code = [line for line in text.splitlines() if not re.match(r"\s*($|//|/?\*)", line)]
    assert 200 < len(code) < 300


def test_without_npm_it_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.shutil, "which", lambda *_, **__: None)
    assert main(["--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "npm" in error
    assert not (tmp_path / "out" / "web").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "thesis.txt").write_text("mine")
    assert main(["--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert (tmp_path / "web" / "thesis.txt").read_text() == "mine"

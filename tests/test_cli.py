import csv
import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer.recognizer
from fer.__main__ import main
from fer.faces import FaceBox
from fer.labels import LABELS
from fer.recognizer import EmotionRecognizer
from fer.runtime import Predictions
from fer.spec import Calibration, CropSpec, ModelSpec

ROOT = Path(__file__).parents[1]
ASTRONAUT = str(ROOT / "examples" / "astronaut.png")


class HalfSureClassifier:
    """Always 40 % happy and a tenth each of the others."""

    tile_size = 32

    def predict(self, tiles):
        probabilities = np.full((len(tiles), 7), 0.1, np.float32)
        probabilities[:, LABELS.index("happy")] = 0.4
        return Predictions(probabilities, np.zeros((len(tiles), 1, 1, 7), np.float32))


class BrightDetector:
    """Finds two faces in a bright picture and none in a dark one."""

    def detect(self, image):
        if image.mean() < 50:
            return []
        return [FaceBox(1, 2, 10, 10, 0.9), FaceBox(30, 2, 20, 20, 0.8)]


@pytest.fixture
def stubbed(monkeypatch):
    """The command line with stand-ins for the two networks."""
    spec = ModelSpec(
        name="stub",
        variant="float32",
        view="blend",
        tile_size=32,
        crop=CropSpec(1.0, 0.0),
        calibration=Calibration(1.0, 0.05, 0.02, uncertain_below=0.5),
        model_sha256="0" * 64,
    )
    stub = EmotionRecognizer(HalfSureClassifier(), spec, BrightDetector())
    monkeypatch.setattr(EmotionRecognizer, "from_bundle", lambda *_, **__: stub)


@pytest.fixture
def dark(tmp_path):
    path = tmp_path / "dark.png"
    Image.new("RGB", (64, 64)).save(path)
    return str(path)


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("no photo")
    return str(path)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fer", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("stubbed")
def test_people_get_one_aligned_line_per_face(capsys, dark, monkeypatch):
    monkeypatch.chdir(Path(dark).parent)
    assert main([ASTRONAUT, "dark.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0] == lines[1]
    assert lines[0].split() == [ASTRONAUT, "happy", "40%", "uncertain"]
    assert lines[2].split(maxsplit=1) == ["dark.png", "no face found"]
    assert lines[0].index("happy") == lines[2].index("no face")


@pytest.mark.usefixtures("stubbed")
def test_json_is_one_document(capsys, dark):
    assert main(["--json", ASTRONAUT, dark]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["image"] == ASTRONAUT
    assert [face["box"]["width"] for face in first["faces"]] == [20, 10]
    assert first["faces"][0]["label"] == "happy"
    assert first["faces"][0]["uncertain"] is True
    assert list(first["faces"][0]["probabilities"]) == list(LABELS)
    assert second == {"image": dark, "faces": []}


@pytest.mark.usefixtures("stubbed")
def test_csv_is_a_header_and_one_row_per_face(capsys, dark):
    assert main(["--csv", ASTRONAUT, dark]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["image"], row["face"]) for row in rows] == [(ASTRONAUT, "1"), (ASTRONAUT, "2")]
    assert rows[0]["label"] == "happy"
    assert rows[0]["uncertain"] == "true"
    assert float(rows[0]["width"]) == 20
    assert float(rows[0]["happy"]) == pytest.approx(0.4)


@pytest.mark.usefixtures("stubbed")
def test_csv_of_no_face_is_the_header_alone(capsys, dark):
    assert main(["--csv", dark]) == 0
    assert capsys.readouterr().out.startswith("image,face,x,y,width,height,score,label,")


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize("form", ["--json", "--csv", None])
def test_a_bad_photo_does_not_spoil_the_others(capsys, bad, form):
    arguments = [ASTRONAUT, bad, ASTRONAUT]
    assert main([form, *arguments] if form else arguments) == 2
    printed = capsys.readouterr()
    assert printed.out.count(ASTRONAUT) >= 2
    assert len(printed.err.splitlines()) == 1
    assert bad in printed.err


@pytest.mark.usefixtures("stubbed")
def test_two_bad_photos_are_two_lines(capsys, bad, tmp_path):
    assert main(["--json", bad, str(tmp_path / "gone.jpg")]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert len(printed.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PHOTO"),
        (["--threads", "0", "a.jpg"], "from 1 to 256, received '0'"),
        (["--threads", "many", "a.jpg"], "received 'many'"),
        (["--json", "--csv", "a.jpg"], "not allowed with"),
        (["--colour", "a.jpg"], "--colour"),
        (["--model", "nowhere", "a.jpg"], "nowhere"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_help_shows_examples():
    done = run("--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "--detector-model" in done.stdout


@pytest.mark.usefixtures("stubbed")
def test_the_other_package_of_the_same_name_is_pointed_out(monkeypatch, tmp_path, capsys):
    other = tmp_path / "fer-22.5.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: fer\nVersion: 22.5.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main([ASTRONAUT]) == 0, "installed elsewhere it does no harm"
    capsys.readouterr()
    (tmp_path / "fer").symlink_to(ROOT / "fer")
    assert main([ASTRONAUT]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "fer 22.5.1" in error
    assert "pip uninstall fer" in error


@pytest.mark.usefixtures("stubbed")
def test_interrupting_is_not_a_traceback(monkeypatch, capsys):
    def interrupt(_source):
        raise KeyboardInterrupt

    monkeypatch.setattr(fer.recognizer, "load_image", interrupt)
    assert main([ASTRONAUT]) == 130
    assert capsys.readouterr().err == ""


def test_the_shipped_model_answers_in_json(bad):
    done = run("--json", ASTRONAUT, bad)
    assert done.returncode == 2
    ((photo),) = json.loads(done.stdout)
    assert [face["label"] for face in photo["faces"]] == ["happy"]
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_stops_reading_is_no_error():
    command = [sys.executable, "-m", "fer", "--csv", *[ASTRONAUT] * 3]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def broken_files(folder):
    good = io.BytesIO()
    Image.new("RGB", (200, 200), "red").save(good, "JPEG")
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0"
    huge += zlib.crc32(huge[12:]).to_bytes(4, "big")
    contents = {"empty.jpg": b"", "cut.jpg": good.getvalue()[:-100], "huge.png": huge}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


@pytest.mark.usefixtures("stubbed")
def test_every_broken_file_gets_one_line_and_the_others_are_read(tmp_path, capsys):
    broken = broken_files(tmp_path)
    assert main([*broken, ASTRONAUT]) == 2
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert len(lines) == len(broken)
    for line, name in zip(lines, broken, strict=True):
        assert line.startswith(f"fer: error: {name}: ")
    assert "happy" in output.out


@pytest.mark.usefixtures("stubbed")
def test_a_single_pixel_is_a_photo_without_a_face(tmp_path, capsys):
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    assert main(["--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["faces"] == []

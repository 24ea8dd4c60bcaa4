import dataclasses
import io
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from conftest import free_port
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from fer.faces import FaceBox
from fer.labels import LABELS
from fer.overlay import fit_photo, grey_tile, importance_tile
from fer.recognizer import FaceEmotion

ROOT = Path(__file__).parents[1]
HUGE_HEADER = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


PORTRAIT = Image.open(ROOT / "examples" / "astronaut.png").convert("RGB")
BROKEN = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"Dear diary, today I smiled.", "not a picture"),
    "half.jpg": (jpeg(PORTRAIT)[:20_000], "damaged or incomplete"),
    "huge.png": (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", HUGE_HEADER) + png_chunk(b"IDAT", b""),
        "30000 x 30000 pixels are too many",
    ),
}


def face(*, label="happy", confidence=0.8, uncertain=False, second="surprise"):
    rest = (1 - confidence) / 10
    probabilities = dict.fromkeys(LABELS, rest) | {label: confidence, second: 5 * rest}
    return FaceEmotion(
        box=FaceBox(10, 10, 40, 40, 0.9),
        label=label,
        confidence=confidence,
        uncertain=uncertain,
        probabilities=probabilities,
        importance=np.zeros((96, 96), np.float32),
        tile=np.full((96, 96, 3), 128, np.uint8),
        square=(5, 5, 50),
    )


def rows(html):
    """The charts' rows, as a visitor reads them."""
    found = re.findall(r'<th scope="row">(.*?)</th>.*?class="fer-value">(.*?)%', html)
    return [(label, float(share)) for label, share in found]


def text(html):
    return " ".join(re.sub("<style>.*?</style>|<[^>]*>", " ", html).split())


@pytest.fixture(scope="module")
def client(server):
    client = Client(server, verbose=False)
    yield client
    client.close()


# The page's parts


def test_portrait_shows_one_happy_face_with_seven_bars(recognizer, astronaut):
    photo, result = app.show(recognizer, str(astronaut))
    assert photo.count("fer-box") == 1
    assert "1 happy" in text(photo)
    assert [label for label, _ in rows(result)] == list(LABELS)
    assert sum(share for _, share in rows(result)) == pytest.approx(100, abs=0.4)
    assert max(rows(result), key=lambda row: row[1])[0] == "happy"
    assert "radio" not in result


def test_group_offers_a_choice_of_face_largest_first(recognizer, group):
    photo, result = app.show(recognizer, str(group))
    lefts = [float(left) for left in re.findall(r"style=\"left:([\d.]+)%", photo)]
    assert lefts == pytest.approx([71, 11, 42], abs=3)
    for number in (1, 2, 3):
        assert f'<label for="fer-face-{number}" class="fer-box' in photo
        assert f'id="fer-face-{number}"' in result
    assert result.count('type="radio"') == 3
    assert result.count(" checked>") + result.count(" checked ") == 1
    assert [label for label, _ in rows(result)] == 3 * list(LABELS)


def test_no_face_is_a_hint_and_the_photo_is_still_shown(recognizer, no_face):
    photo, result = app.show(recognizer, str(no_face))
    assert "<img" in photo
    assert "fer-box" not in photo
    assert "No face found" in result
    assert 'role="alert"' not in result


def test_removing_the_photo_clears_the_result(recognizer):
    assert app.show(recognizer, None) == ("", app.WAITING_HTML)


@pytest.mark.parametrize("name", BROKEN)
def test_unreadable_file_gets_one_clear_line(recognizer, tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    photo, result = app.show(recognizer, str(tmp_path / name))
    assert photo == ""
    assert 'role="alert"' in result
    assert f"{name}: " in result
    assert reason in result
    assert str(tmp_path) not in result


def test_missing_file_gets_one_clear_line(recognizer, tmp_path):
    _, result = app.show(recognizer, str(tmp_path / "gone.jpg"))
    assert "gone.jpg: cannot be opened" in result
    assert str(tmp_path) not in result


def test_file_name_is_escaped(recognizer, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    path.write_bytes(b"no picture")
    _, result = app.show(recognizer, str(path))
    assert "<img" not in result
    assert "&lt;img" in result


def test_exif_and_cmyk_photos_are_marked_like_the_original(recognizer, astronaut, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = PORTRAIT.transpose(Image.Transpose.ROTATE_90)
    (tmp_path / "exif.jpg").write_bytes(jpeg(turned, exif=exif, quality=95))
    (tmp_path / "cmyk.jpg").write_bytes(jpeg(PORTRAIT.convert("CMYK"), quality=95))

    def place(path):
        photo, _ = app.show(recognizer, str(path))
        return [float(edge) for edge in re.findall(r"(?:left|top|width|height):([\d.]+)%", photo)]

    expected = place(astronaut)
    assert len(expected) == 4
    assert place(tmp_path / "exif.jpg") == pytest.approx(expected, abs=1)
    assert place(tmp_path / "cmyk.jpg") == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.97, "almost certain, 97%"), (0.8, "confident, 80%"), (0.6, "likely, 60%")],
)
def test_headline_says_the_label_and_how_sure(confidence, words):
    result = text(app.result_html([face(confidence=confidence)]))
    assert f"Happy {words}" in result
    assert f"of 100 answers this sure, about {words[-3:-1]} were right" in result
    assert "Uncertain" not in result


def test_uncertain_result_names_two_candidates_and_no_winner():
    uncertain = face(label="sad", confidence=0.4, uncertain=True, second="neutral")
    result = text(app.result_html([uncertain]))
    assert "Uncertain: could be sad or neutral" in result
    assert "right roughly 40 times in 100" in result
    assert "Sad" not in result
    photo = app.photo_html(np.zeros((100, 100, 3), np.uint8), [uncertain])
    assert "1 sad?" in text(photo)


def test_box_past_the_border_is_drawn_inside_the_photo():
    outside = dataclasses.replace(face(), box=FaceBox(-20, 70, 60, 60, 0.9))
    photo = app.photo_html(np.zeros((100, 100, 3), np.uint8), [outside])
    assert "left:0.00%;top:70.00%" in photo
    assert "width:40.00%;height:30.00%" in photo


def test_pictures_carry_alternative_text_and_charts_a_caption():
    result = app.result_html([face()])
    assert re.findall('<img[^>]*alt="([^"]+)"', result) == [
        "Face 1 in grey, 96 by 96 pixels",
        "Face 1 with the parts that speak for happy laid over it",
    ]
    assert "<caption>Probability of each expression, face 1</caption>" in result


def test_a_face_that_was_not_explained_shows_no_map():
    result = app.result_html([dataclasses.replace(face(), importance=None)])
    assert re.findall('<img[^>]*alt="([^"]+)"', result) == ["Face 1 in grey, 96 by 96 pixels"]
    assert "speaks for" not in result


# Its pictures


def test_a_map_is_orange_where_it_speaks_for_the_label_and_blue_against():
    tile = np.full((96, 96, 3), 128, np.uint8)
    importance = np.zeros((96, 96), np.float32)
    importance[:, :32], importance[:, 64:] = 2, -2
    picture = importance_tile(tile, importance, 192).astype(int)
    assert picture.shape == (192, 192, 3)
    assert (picture[:, :60, 0] > picture[:, :60, 2] + 50).all()
    assert (picture[:, -60:, 2] > picture[:, -60:, 0] + 50).all()


def test_a_map_of_nothing_is_the_tile_and_fades_when_weak():
    tile = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    nothing = importance_tile(tile, np.zeros((96, 96), np.float32), 96)
    assert np.array_equal(nothing, grey_tile(tile, 96))
    faint = importance_tile(tile, np.full((96, 96), 0.01, np.float32), 96).astype(int)
    assert np.abs(faint - nothing).max() < 10


def test_only_large_photos_are_shrunk_and_keep_their_shape():
    small = np.zeros((30, 40, 3), np.uint8)
    assert fit_photo(small, 40) is small
    assert fit_photo(np.zeros((300, 900, 3), np.uint8), 90).shape == (30, 90, 3)
    assert fit_photo(np.zeros((1, 900, 3), np.uint8), 90).shape == (1, 90, 3)


# The running server


def test_api_answers_with_every_probability(client, recognizer, astronaut):
    answer = client.predict(handle_file(astronaut), api_name="/predict")
    assert answer["view"] == recognizer.spec.view
    assert recognizer.spec.name in answer["model"]
    (found,) = answer["faces"]
    assert found["label"] == "happy"
    assert found["confidence"] == max(found["probabilities"].values())
    assert list(found["probabilities"]) == list(LABELS)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert found == recognizer.recognize(astronaut)[0].to_dict()


def test_api_finds_several_faces_and_none(client, group, no_face):
    sizes = [
        found["box"]["width"]
        for found in client.predict(handle_file(group), api_name="/predict")["faces"]
    ]
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert client.predict(handle_file(no_face), api_name="/predict")["faces"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_api_explains_an_unreadable_file(client, tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=f"^{name}: .*{reason}") as caught:
        client.predict(handle_file(tmp_path / name), api_name="/predict")
    assert "/" not in str(caught.value).replace("\\", "/")


def test_api_explains_a_missing_picture(client):
    with pytest.raises(AppError, match="no picture was given"):
        client.predict(None, api_name="/predict")


def test_simultaneous_visitors_get_their_own_answers(client, astronaut, group, no_face):
    photos = {astronaut: 1, group: 3, no_face: 0}
    jobs = [
        (faces, client.submit(handle_file(photo), api_name="/predict"))
        for photo, faces in 3 * list(photos.items())
    ]
    for faces, job in jobs:
        assert len(job.result()["faces"]) == faces


def test_only_the_documented_endpoint_can_be_called(client):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert list(endpoints["named_endpoints"]) == ["/predict"]
    assert endpoints["unnamed_endpoints"] == {}
    described = endpoints["named_endpoints"]["/predict"]
    assert [given["parameter_name"] for given in described["parameters"]] == ["image"]
    assert [returned["label"] for returned in described["returns"]] == ["Faces"]


def test_server_keeps_no_history_and_reports_to_nobody(server):
    config = httpx.get(f"{server}config").json()
    assert config["analytics_enabled"] is False
    assert config["run_history"] is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_other_computers_cannot_connect(server):
    port = urlsplit(server).port
    socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(OSError, match="refused|assign"):
        socket.create_connection(("127.0.0.2", port), timeout=10)


def test_page_carries_the_model_card_and_the_limits(server):
    page = httpx.get(f"{server}config").text
    assert "Card of the test" in page
    assert "license: apache-2.0" not in page
    assert "Article 5(1)(f)" in page


def test_uploads_are_deleted_and_the_example_stays(recognizer, no_face, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(app, "_UPLOAD_CHECK", 1)
    monkeypatch.setattr(app, "_UPLOAD_AGE", 1)
    demo = app.build(recognizer)
    client = Client(app.serve(demo, "127.0.0.1", free_port()), verbose=False)
    try:
        client.predict(handle_file(no_face), api_name="/predict")
        deadline = time.monotonic() + 60
        while any(tmp_path.rglob(no_face.name)) and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        assert not any(tmp_path.rglob(no_face.name))
        assert any(tmp_path.rglob("astronaut.png"))
    finally:
        client.close()
        demo.close()


def test_too_large_an_upload_is_refused(recognizer, astronaut, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    demo = app.build(recognizer)
    url = app.serve(demo, "127.0.0.1", free_port(), max_file_size="100kb")
    try:
        with astronaut.open("rb") as file:
            answer = httpx.post(f"{url}gradio_api/upload", files={"files": file})
        assert answer.status_code == 413
    finally:
        demo.close()


# The command


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, **options
    )


def test_importing_the_app_loads_no_model_and_no_tensorflow():
    program = (
        "import sys, fer.faces, fer.runtime\n"
        "fer.faces.Interpreter = fer.runtime.Interpreter = None\n"
        "import app\n"
        "print(sorted({'tensorflow', 'keras', 'tf_keras', 'torch'} & set(sys.modules)))\n"
    )
    done = run("-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "0"], "--port: must be a whole number from 1 to 65535, received '0'"),
        (["--port", "http"], "received 'http'"),
        (["--max-file-size", "lots"], "such as 20mb, received 'lots'"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_bad_option_is_one_line_and_exit_2(capsys, arguments, reason):
    with pytest.raises(SystemExit) as stopped:
        app.main(arguments)
    output = capsys.readouterr()
    assert stopped.value.code == 2
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert reason in output.err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        app.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in ("--host", "--port", "--model", "--detector-model", "--max-file-size"):
        assert option in text
    assert "127.0.0.1" in text
    assert "7860" in text


@pytest.mark.parametrize(
    ("option", "name"), [("--model", "no-bundle"), ("--detector-model", "no-yunet.onnx")]
)
def test_missing_files_are_one_line_and_exit_2(capsys, tmp_path, option, name):
    assert app.main(["--port", str(free_port()), option, str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error


def test_taken_port_is_one_line_and_exit_2(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"127.0.0.1 port {port}" in error
    assert "in use" in error


def test_conflicting_installation_is_said_first(capsys, monkeypatch):
    monkeypatch.setattr(app, "conflicting_install", lambda: "run: pip uninstall fer")
    assert app.main([]) == 2
    assert capsys.readouterr().err == "app: error: run: pip uninstall fer\n"


@pytest.mark.skipif(os.name != "posix", reason="stops the server by a POSIX signal")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_the_page_until_stopped_and_leaves_nothing(tmp_path, stop):
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert re.fullmatch(
            rf"Ready in [\d.]+ s: http://127.0.0.1:{port}/ .*\n", process.stdout.readline()
        )
        assert app.TITLE in httpx.get(f"http://127.0.0.1:{port}/").text
        process.send_signal(stop)
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_about_tells_how_far_the_probabilities_were_off(recognizer):
    text = app.about(recognizer.spec.calibration)
    points = round(100 * recognizer.spec.calibration.ece_after)
    assert f"off by {points} percentage points on average" in text
    assert "not a felt emotion" in text

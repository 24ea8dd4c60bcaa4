import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import free_port
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from fer.labels import LABELS
from fer.web import page
from fer.web import server as serving
from tests.pictures import BROKEN

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def client(server):
    client = Client(server, verbose=False)
    yield client
    client.close()


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
    monkeypatch.setattr(page, "UPLOAD_CHECK", 1)
    monkeypatch.setattr(page, "UPLOAD_AGE", 1)
    demo = page.build(recognizer)
    client = Client(serving.serve(demo, recognizer.spec, "127.0.0.1", free_port()), verbose=False)
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
    demo = page.build(recognizer)
    url = serving.serve(demo, recognizer.spec, "127.0.0.1", free_port(), max_file_size="100kb")
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
        assert page.TITLE in httpx.get(f"http://127.0.0.1:{port}/").text
        process.send_signal(stop)
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []

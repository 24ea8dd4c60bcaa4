import ast
import asyncio
import base64
import json
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
import jsonschema
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


def fits(answer, name):
    """Fails unless an answer is what docs/api.schema.json says."""
    schema = json.loads((ROOT / "docs" / "api.schema.json").read_text())
    jsonschema.validate(answer, {**schema, "$ref": f"#/$defs/{name}"})


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


def test_only_the_documented_endpoints_can_be_called(client):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert endpoints["unnamed_endpoints"] == {}
    described = {
        name: (
            [given["parameter_name"] for given in endpoint["parameters"]],
            [returned["label"] for returned in endpoint["returns"]],
        )
        for name, endpoint in endpoints["named_endpoints"].items()
    }
    assert described == {
        "/predict": (["image"], ["Faces"]),
        "/predict_frame": (["image", "tracks", "time"], ["Faces"]),
        "/predict_video": (["video"], ["Seconds"]),
    }


def test_answers_are_what_the_schema_says(client, astronaut, clip):
    fits(client.predict(handle_file(astronaut), api_name="/predict"), "predict")
    frame = client.predict(handle_file(astronaut), None, 0.0, api_name="/predict_frame")
    fits(frame, "predict_frame")
    fits(client.predict(handle_file(clip), api_name="/predict_video"), "predict_video")
    with pytest.raises(jsonschema.ValidationError):
        fits(frame, "predict")


def test_a_stream_keeps_its_numbers_and_smooths(client, astronaut, group, no_face):
    def send(photo, tracks, time):
        return client.predict(handle_file(photo), tracks, time, api_name="/predict_frame")

    first = send(astronaut, None, 0)
    again = send(astronaut, first["tracks"], 0.1)
    assert [face["number"] for face in again["faces"]] == [1]
    gone = send(no_face, again["tracks"], 0.2)
    assert gone["faces"] == []
    assert [face["number"] for face in send(astronaut, gone["tracks"], 0.3)["faces"]] == [1]
    late = send(group, gone["tracks"], 60)
    assert [face["number"] for face in late["faces"]] == [2, 3, 4]


@pytest.mark.parametrize(
    ("tracks", "time", "reason"),
    [
        ({"faces": [{"number": 1}]}, 1.0, "tracks must be those of the last answer"),
        ([1, 2], 1.0, "tracks must be those of the last answer"),
        (None, -1.0, "time must be seconds since the stream began"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(client, astronaut, tracks, time, reason):
    with pytest.raises(AppError, match=reason):
        client.predict(handle_file(astronaut), tracks, time, api_name="/predict_frame")


def test_a_video_is_read_second_by_second(client, clip):
    answer = client.predict(handle_file(clip), api_name="/predict_video")
    assert answer["duration"] == pytest.approx(2, abs=0.2)
    assert [row["second"] for row in answer["seconds"]] == [0, 1]
    assert {row["label"] for row in answer["seconds"]} == {"happy"}
    assert {row["number"] for row in answer["seconds"]} == {1}


def test_a_video_that_is_none_is_refused_without_the_servers_folder(client, tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"Dear diary, today I smiled.")
    with pytest.raises(AppError, match="^holiday.mp4: is not a video") as caught:
        client.predict(handle_file(tmp_path / "holiday.mp4"), api_name="/predict_video")
    assert "/" not in str(caught.value)


def test_curl_gets_the_same_answer(server, client, astronaut):
    with astronaut.open("rb") as file:
        (path,) = httpx.post(f"{server}gradio_api/upload", files={"files": file}).json()
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    event = httpx.post(f"{server}gradio_api/call/predict", json=data).json()["event_id"]
    stream = httpx.get(f"{server}gradio_api/call/predict/{event}", timeout=60).text
    (answer,) = json.loads(stream.split("event: complete\ndata: ")[1].splitlines()[0])
    assert answer == client.predict(handle_file(astronaut), api_name="/predict")


def test_an_agent_calls_it_as_an_mcp_tool(server, astronaut):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    picture = base64.b64encode(astronaut.read_bytes()).decode()

    async def talk():
        async with (
            streamable_http_client(f"{server}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            image = {"image": f"data:image/png;base64,{picture}"}
            return tools, await session.call_tool("predict", image)

    tools, result = asyncio.run(talk())
    assert {"predict", "predict_frame", "predict_video"} <= set(tools)
    assert tools["predict"].inputSchema["required"] == ["image"]
    assert "JPEG" in tools["predict"].inputSchema["properties"]["image"]["description"]
    assert not result.isError, result.content
    # Gradio prints what a tool returns as Python does, not as JSON.
    assert ast.literal_eval(result.content[0].text)["faces"][0]["label"] == "happy"


def test_health_says_which_model_answers(server, recognizer):
    answer = httpx.get(f"{server}health")
    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert health["variant"] == recognizer.spec.variant
    assert health["seconds_up"] >= 0


def test_page_can_be_installed(server):
    manifest = httpx.get(f"{server}manifest.json").json()
    assert manifest["name"] == page.TITLE
    assert manifest["display"] == "standalone"
    assert 'rel="manifest"' in httpx.get(server).text


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
    monkeypatch.setattr(serving, "CHECK", 0.5)
    monkeypatch.setattr(serving, "PICTURE_AGE", 1)
    demo = page.build(recognizer)
    client = Client(serving.serve(demo, recognizer.spec, "127.0.0.1", free_port()), verbose=False)
    old, fresh = (tmp_path / "fer-videos" / name for name in ("old.mp4", "fresh.mp4"))
    for video in (old, fresh):
        video.write_bytes(b"a marked video")
    os.utime(old, (time.time() - serving.VIDEO_AGE - 5,) * 2)
    try:
        client.predict(handle_file(no_face), api_name="/predict")
        deadline = time.monotonic() + 60
        while any(tmp_path.rglob(no_face.name)) and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        assert not any(tmp_path.rglob(no_face.name))
        assert any(tmp_path.rglob("astronaut.png"))
        assert not old.exists()
        assert fresh.exists()
    finally:
        client.close()
        demo.close()


def test_page_without_a_folder_of_its_own_is_not_served(recognizer, monkeypatch):
    """It deletes old files there: never those of others in the system's folder."""
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    demo = page.build(recognizer)
    with pytest.raises(ValueError, match="GRADIO_TEMP_DIR must name a folder of the page's own"):
        serving.serve(demo, recognizer.spec, "127.0.0.1", free_port())


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


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("FER_PORT", "0", "--port: must be a whole number from 1 to 65535, received '0'"),
        ("FER_THREADS", "all", "--threads: must be a whole number from 1 to 256, received 'all'"),
        ("FER_MAX_FILE_SIZE", "lots", "received 'lots'"),
        ("FER_SHARE", "perhaps", "--share: must be 1 or 0, received 'perhaps'"),
    ],
)
def test_a_bad_setting_in_the_environment_is_one_line_and_exit_2(
    capsys, monkeypatch, name, value, reason
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        app.main([])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert reason in error


def test_a_missing_model_in_the_environment_is_named_and_a_flag_wins(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_MODEL", str(tmp_path / "no-bundle"))
    monkeypatch.setenv("FER_PORT", str(free_port()))
    assert app.main([]) == 2
    assert "no-bundle" in capsys.readouterr().err
    assert app.main(["--model", str(tmp_path / "other-bundle")]) == 2
    assert "other-bundle" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="stops the server by a POSIX signal")
@pytest.mark.parametrize(
    ("stop", "again"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)]
)
def test_command_serves_the_page_until_stopped_and_leaves_nothing(tmp_path, stop, again, astronaut):
    port = free_port()
    command = [sys.executable, "app.py"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "FER_PORT": str(port)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = f"http://127.0.0.1:{port}/"
        assert re.fullmatch(rf"Ready in [\d.]+ s: {address} .*\n", process.stdout.readline())
        assert page.TITLE in httpx.get(address).text
        client = Client(address, verbose=False)
        client.predict(handle_file(astronaut), api_name="/predict")
        client.close()
        process.send_signal(stop)
        while again and process.poll() is None:  # Ctrl+C pressed again and again
            time.sleep(0.05)
            process.send_signal(stop)
        said, log = process.communicate(timeout=120)
    assert process.returncode == 0
    assert said.count("\n") == 1
    assert "Traceback" not in log
    assert list(tmp_path.iterdir()) == []
    (line,) = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert line["event"] == "photo"
    assert line["faces"] == 1
    assert {"time", "megapixels", "decode_ms", "recognize_ms"} <= set(line)
    assert "astronaut" not in log

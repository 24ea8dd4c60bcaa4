"""Many visitors at once: nothing is lost, nobody gets another's answer, memory stays flat."""

import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from PIL import Image

from tests.pictures import BROKEN, PORTRAIT, jpeg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc"),
]
ROOT = Path(__file__).parents[1]
SMALL = PORTRAIT.resize((300, 300))
FACE = 130  # where the face begins in it


class Visitor:
    """Talks to the app as the page, a program and a careless program do."""

    def __init__(self, http):
        self._http = http
        components = self._http.get("config").json()["components"]
        (self._live,) = (c["id"] for c in components if c["props"].get("elem_id") == "live")

    def photo(self, content, name="photo.jpg"):
        """Returns the answer of /predict, or the error that the visitor is told."""
        (path,) = self._http.post("gradio_api/upload", files={"files": (name, content)}).json()
        data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        event = self._http.post("gradio_api/call/predict", json=data).json()["event_id"]
        stream = self._http.get(f"gradio_api/call/predict/{event}").text
        kind, answer = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
        return json.loads(answer)[0] if kind == "complete" else json.loads(answer)

    def frame(self, content, tracks=None, time=0.0):
        """Returns the answer to a frame of the live tab."""
        image = "data:image/jpeg;base64," + base64.b64encode(content).decode()
        return self._call({"image": image, "tracks": tracks, "time": time})

    def nonsense(self, value):
        """Sends what no page sends, and returns the answer."""
        return self._call(value)

    def _call(self, data):
        body = {
            "component_id": self._live,
            "fn_name": "read_frame",
            "session_hash": "test",
            "data": data,
        }
        answer = self._http.post("gradio_api/component_server", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """The app in a process of its own, a visitor, and the port."""
    port = free_port()
    environment = os.environ | {"TMPDIR": str(tmp_path_factory.mktemp("tmp"))}
    with subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert "Ready" in process.stdout.readline()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=120) as http:
            yield process, Visitor(http), port
        process.terminate()


def megabytes(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def picture(left):
    """A portrait whose place tells whose it is."""
    wide = Image.new("RGB", (800, 300), (130, 140, 150))
    wide.paste(SMALL, (left, 0))
    return jpeg(wide, quality=90)


def surest(answer):
    return max(answer["faces"], key=lambda face: face["box"]["score"])


def is_at(answer, left):
    face = surest(answer)
    return abs(face["box"]["x"] + face["box"]["width"] / 2 - left - FACE) < 20


def test_mixed_requests_are_all_answered_each_to_its_visitor(process):
    running, visitor, _ = process
    rng = random.Random(0)
    broken = list(BROKEN.items())

    def request(kind):
        left = rng.randrange(0, 500, 25)
        if kind < 5:
            return is_at(visitor.photo(picture(left)), left)
        if kind < 8:
            return is_at(visitor.frame(picture(left)), left)
        if kind == 8:
            name, (content, reason) = broken[left % len(broken)]
            return reason in str(visitor.photo(content, name))
        wrong = [None, 7, {}, {"image": "data:image/jpeg;base64,?"}, {"image": [left]}]
        return "error" in visitor.nonsense(wrong[left % len(wrong)])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(request, [index % 10 for index in range(100)]))
        before = megabytes(running)
        answers = list(pool.map(request, [index % 10 for index in range(500)]))
    assert len(answers) == 500
    assert all(answers)
    assert megabytes(running) - before < 100


def test_four_streams_and_a_stalled_visitor_do_not_disturb_each_other(process):
    _, visitor, port = process

    def stream(start):
        tracks, numbers = None, set()
        for index in range(40):
            left = start + 3 * index
            answer = visitor.frame(picture(left), tracks, index / 15)
            assert is_at(answer, left)
            tracks = answer["tracks"]
            numbers.add(surest(answer)["number"])
        return numbers

    with socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.sendall(
            b"POST /gradio_api/component_server HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
        )
        with ThreadPoolExecutor(4) as pool:
            numbers = list(pool.map(stream, [0, 100, 200, 300]))
    assert numbers == [{1}] * 4

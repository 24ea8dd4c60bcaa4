"""Bundles from a Hub: the same answers as from a folder, offline afterwards, and nothing half.

Each command runs in a process of its own on the local Hub (`tests.hub_server`).
"""

import hashlib
import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fer.hub import HubError, bundle_folder
from tests.bundles import DEFAULT, OTHER, ROOT, command, finish, make_export, start
from tests.conftest import ASTRONAUT
from tests.hub_server import WRITER, LocalHub
from tests.process import python

MODEL = f"{DEFAULT}/model.tflite"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What the Hub holds after a push: its repositories and large files."""
    folder = tmp_path_factory.mktemp("push")
    exported = make_export(folder / "exported")
    with LocalHub() as hub:
        known = hub.environment(folder / "home")
        code, _, errors = command(known, "export.push", exported, "--repo", "alice/fer")
        assert code == 0, errors
        return hub.files("alice/fer")


@pytest.fixture
def hub(published):
    """A Hub that has them."""
    with LocalHub() as hub:
        hub.create("model", "alice/fer")
        hub.fill("alice/fer", published)
        yield hub
        assert hub.trespasses == []  # the token went to the Hub alone


@pytest.fixture
def read(hub, tmp_path):
    """Reads a portrait with a model; returns exit code, output and errors."""

    def run(model="hf://alice/fer", **environment):
        known = {**hub.environment(tmp_path / "home", None), **environment}
        return command(known, "fer", "--csv", "--model", model, ASTRONAUT)

    return run


def republish(files, path, content, *, promised=True):
    """Returns files with one changed, and what manifest and index say of it."""
    files = {**files, path: content}
    if promised:
        variant, name = path.split("/", 1)
        manifest = json.loads(files[f"{variant}/manifest.json"])
        if name != "manifest.json":
            manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
            files[f"{variant}/manifest.json"] = json.dumps(manifest).encode()
        index = json.loads(files["published.json"])
        digest = hashlib.sha256(files[f"{variant}/manifest.json"]).hexdigest()
        index["files"][f"{variant}/manifest.json"]["sha256"] = digest
        files["published.json"] = json.dumps(index).encode()
    return files


def run_code(hub, home, code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=hub.environment(home),
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(result, says):
    code, out, errors = result
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"fer: error: .*{says}.*\n", errors), errors


def test_a_published_bundle_answers_as_the_folder_does_and_offline_too(hub, read, tmp_path):
    code, out, errors = command(hub.environment(tmp_path), "fer", "--csv", ASTRONAUT)
    expected = (code, out, errors)
    assert code == 0
    assert read() == expected
    # Nothing is fetched that the recogniser does not read: no network to retrain, no golden tile.
    fetched = [line for line in hub.requests if "/resolve/" in line]
    assert fetched
    assert not any(line.endswith((".keras", ".png")) for line in fetched)
    hub.requests.clear()
    assert read() == expected
    assert not any("/resolve/" in line or "/storage/" in line for line in hub.requests)
    hub.requests.clear()
    assert read(HF_HUB_OFFLINE="1") == expected
    assert hub.requests == []
    hub.fail(".", 503, times=9)
    assert read() == expected
    hub.faults.clear()
    assert read(HF_ENDPOINT="http://127.0.0.1:9") == expected


def test_python_takes_a_revision_and_a_variant(hub, tmp_path):
    commit = hub.repos["model", "alice/fer"].branches["main"].oid
    hub.repos["model", "alice/fer"].branches["v1"] = hub.repos["model", "alice/fer"].branches[
        "main"
    ]
    hub.fill("alice/fer", {"published.json": b"{}"})  # main is of no use any more
    code = """
import sys
from fer.hub import bundle_folder
from fer.recognizer import EmotionRecognizer
for revision in sys.argv[1:]:
    recognizer = EmotionRecognizer.from_hub("alice/fer", revision=revision, variant="float32")
    print(recognizer.spec.variant, bundle_folder(f"hf://alice/fer@{revision}/float32").name)
"""
    done = run_code(hub, tmp_path, code, "v1", commit)
    assert done.stdout == f"{OTHER} {OTHER}\n" * 2, done.stderr


def test_an_address_that_is_none_is_refused():
    assert bundle_folder("some/folder") == Path("some/folder")
    for address in ("hf://", "hf://alice", "hf://alice/fer@", "hf://buckets/alice/fer"):
        with pytest.raises(HubError, match="model must be"):
            bundle_folder(address)
    with pytest.raises(HubError, match="must be a model on the Hub, received .* a dataset"):
        bundle_folder("hf://datasets/alice/fer")


def test_a_private_repository_needs_a_token(hub, read):
    hub.repos["model", "alice/fer"].private = True
    assert_refused(read(), "private or does not exist")
    assert_refused(read(HF_TOKEN="hf_nobodys"), "the Hub refused the token")
    assert read(HF_TOKEN=WRITER)[0] == 0


# What is published in a repository of that name: a file of it, its content or fields of its JSON,
# whether manifest and index promise it so, and what is said of that.
UNFIT = {
    "labels": (f"{DEFAULT}/labels.txt", b"happy\nsad\n", True, f"labels of {DEFAULT} must be"),
    "changed": (f"{DEFAULT}/labels.txt", b"happy\nsad\n", False, "its hash differs"),
    "version": (f"{DEFAULT}/spec.json", {"spec_version": 2}, True, "spec_version must be 1"),
    "order": (f"{DEFAULT}/spec.json", {"labels": ["happy"]}, True, "labels must be"),
    "hash": (f"{DEFAULT}/spec.json", {"model_sha256": "0" * 64}, True, "does not belong to its"),
    "empty": (f"{DEFAULT}/manifest.json", {"files": {}}, True, "names no labels.txt"),
    "manifest": (f"{DEFAULT}/manifest.json", {"files": {}}, False, "its hash differs"),
    "format": ("published.json", {"format": 2}, False, "must have format 1, received 2"),
    "index": ("published.json", {"files": {}}, False, "was not published by export.push"),
    "json": ("published.json", b"{", False, "published.json is not the file"),
    "other": ("README.md", b"mine", None, "was not published by export.push"),
}
ABSENT = {
    "hf://alice/none": "the Hub has no alice/none",
    "hf://alice/fer@v9": "alice/fer has no such revision",
    "hf://alice/fer/qat_int8": "variant must be one of",
}


def test_a_bundle_that_is_not_there_or_does_not_fit_is_refused(hub, published, tmp_path):
    for name, (path, content, promised, _) in UNFIT.items():
        if isinstance(content, dict):
            content = json.dumps({**json.loads(published[path]), **content}).encode()
        changed = republish(published, path, content, promised=bool(promised))
        hub.create("model", f"alice/{name}")
        hub.fill(f"alice/{name}", changed if promised is not None else {path: content})
    expected = {f"hf://alice/{name}": says for name, (*_, says) in UNFIT.items()} | ABSENT
    code = """
import sys
from fer.hub import bundle_folder
from fer.recognizer import EmotionRecognizer
for address in sys.argv[1:]:
    try:
        EmotionRecognizer.from_bundle(bundle_folder(address))
        print("loaded", address)
    except ValueError as error:
        print(error)
"""
    done = run_code(hub, tmp_path, code, *expected)
    said = done.stdout.splitlines()
    assert len(said) == len(expected), done.stderr
    for line, (address, says) in zip(said, expected.items(), strict=True):
        assert says in line, address


def test_a_model_of_another_content_is_never_loaded(hub, read):
    (digest,) = {
        entry.sha256
        for path, entry in hub.repos["model", "alice/fer"].branches["main"].files.items()
        if path == MODEL
    }
    good = hub.storage[digest]
    hub.storage[digest] = good[:-1] + bytes([good[-1] ^ 1])
    assert_refused(read(), f"{MODEL} is not the file that was published")
    assert_refused(read(HF_HUB_OFFLINE="1"), "is needed from the Hub, and HF_HUB_OFFLINE is set")
    hub.storage[digest] = good
    assert read()[0] == 0


def test_a_damaged_cache_is_mended_and_not_used_before(read, tmp_path):
    assert read()[0] == 0
    (blob,) = (tmp_path / "home").rglob(f"snapshots/*/{MODEL}")
    whole = blob.read_bytes()
    blob.resolve().write_bytes(whole[: len(whole) // 2])
    assert_refused(read(HF_HUB_OFFLINE="1"), "alice/fer is needed from the Hub")
    assert read()[0] == 0
    assert blob.read_bytes() == whole


def test_a_download_that_breaks_off_goes_on(hub, read):
    hub.fail("GET /storage/", "cut")
    hub.fail("GET /api/models", 429, Retry_After="0")
    assert read()[0] == 0
    assert all(fault.times == 0 for fault in hub.faults)


def test_a_pull_that_is_stopped_leaves_nothing_that_loads_and_keeps_what_there_was(
    hub, read, published, tmp_path
):
    environment = hub.environment(tmp_path / "home")

    def stopped(number):
        fault = hub.fail("GET /storage/", "hang")
        process = start(environment, "fer", "--model", "hf://alice/fer", ASTRONAUT)
        assert fault.reached.wait(60)
        process.send_signal(number)
        assert finish(process)[0] in (-number, 128 + number)

    stopped(signal.SIGKILL)
    assert not list((tmp_path / "home").rglob(f"snapshots/*/{MODEL}"))
    assert_refused(read(HF_HUB_OFFLINE="1"), "is needed from the Hub")
    first = read()
    assert first[0] == 0
    hub.fill("alice/fer", republish(published, MODEL, published[MODEL] + b"\0"))
    stopped(signal.SIGINT)
    assert read(HF_HUB_OFFLINE="1") == first  # the one before the update


def test_a_full_disk_is_one_line(hub, tmp_path):
    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = subprocess.run(
        [sys.executable, "-m", "fer", "--model", "hf://alice/fer", str(ASTRONAUT)],
        cwd=ROOT, env=hub.environment(tmp_path / "home"), preexec_fn=little, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert_refused((done.returncode, done.stdout, done.stderr), "cannot use .*File too large")
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_a_folder_needs_no_hub_library():
    loaded = "import sys, fer.recognizer; print('huggingface_hub' in sys.modules)"
    assert python(loaded) == "False\n"

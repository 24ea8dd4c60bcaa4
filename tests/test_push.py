"""Publishing on a Hub: what one commit holds, who may, what passes and what an interruption leaves.

Each command runs in a process of its own on the local Hub (`tests.hub_server`).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import yaml

from export import card, push, push_space
from export.publish import Target
from export.verify import verify
from tests.bundles import (
    CHECKPOINT,
    DEFAULT,
    OTHER,
    ROOT,
    command,
    finish,
    make_bundle,
    make_export,
    sign,
    start,
)
from tests.conftest import free_port
from tests.hub_server import READER, WRITER, LocalHub

PUBLISH = f"Publish {DEFAULT}, {OTHER}"
EXPECTED = {
    ".gitattributes",
    "LICENSE",
    "NOTICE",
    "README.md",
    "model.keras",
    "plots/benchmark.png",
    "published.json",
    *(
        f"{variant}/{name}"
        for variant in (DEFAULT, OTHER)
        for name in (
            "LICENSE",
            "MODEL_CARD.md",
            "golden/face.png",
            "golden/golden.json",
            "labels.txt",
            "manifest.json",
            "model.tflite",
            "spec.json",
        )
    ),
}


@pytest.fixture
def hub():
    with LocalHub() as hub:
        yield hub
        assert hub.trespasses == []  # the token went to the Hub alone


@pytest.fixture
def exported(tmp_path):
    return make_export(tmp_path / "exported")


@pytest.fixture
def pushed(hub, tmp_path, exported):
    """Runs the push; returns exit code, output and errors."""

    def run(*more, folder=exported, repo="alice/fer", token=WRITER):
        return command(hub.environment(tmp_path / "home", token), "export.push", folder,
                       "--repo", repo, *more)  # fmt: skip

    return run


def metadata(readme):
    return yaml.safe_load(readme.decode().split("---\n")[1])


def assert_one_line(said):
    assert re.fullmatch(r"error: .+\n", said)
    assert "hf_" not in said


def test_a_push_is_one_commit_of_everything_and_shows_the_token_nowhere(hub, pushed, tmp_path):
    code, out, errors = pushed()
    assert (code, errors) == (0, "")
    assert hub.titles("alice/fer") == ["initial commit", PUBLISH]
    files = hub.files("alice/fer")
    assert set(files) == EXPECTED
    tip = hub.repos["model", "alice/fer"].branches["main"].oid
    assert out.splitlines()[-1] == f"{hub.url}/alice/fer/commit/{tip}"
    assert files["model.keras"] == CHECKPOINT
    assert "model.keras" not in json.loads(files[f"{DEFAULT}/manifest.json"])["files"]
    assert not hub.repos["model", "alice/fer"].private
    for path, content in files.items():
        (tmp_path / "back" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "back" / path).write_bytes(content)
    assert verify(tmp_path / "back" / DEFAULT).faults == []
    written = [path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()]
    for text in (out.encode(), *files.values(), *written):
        assert WRITER.encode() not in text


def test_the_card_says_what_was_measured_and_nothing_else(hub, exported):
    report = {
        "training_drops": 1234,
        "audit": {"Training in PublicTest": {"exact": 280, "near": 60, "other_label": 7}},
        "variants": {},
    }
    bundles = push.read_bundles(exported)
    for number, each in enumerate(bundles):
        scores = {
            split: {
                "accuracy": {"value": 0.61 + extra, "low": 0.6, "high": 0.7, "n": 3589},
                "accuracy_without_duplicates": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 3249},
                "macro_f1": 0.5123 + extra,
                "calibration_error": 0.0111 + extra,
            }
            for extra, split in ((number / 100, "PublicTest"), (0.2 + number / 100, "PrivateTest"))
        }
        report["variants"][each.variant] = {"model_sha256": each.spec.model_sha256,
                                            "splits": scores}  # fmt: skip
    (exported / card.SCORES_FILE).write_text(json.dumps(report))
    files = push.collect(exported, bundles, None, Target("alice/fer", "model"))
    text = files["README.md"]
    about = metadata(text)
    assert about["pipeline_tag"] == "image-classification"
    assert about["license"] == "apache-2.0"
    assert about["library_name"] == "litert"
    found = {
        (result["dataset"]["split"], metric["args"]["variant"], metric["type"]): metric["value"]
        for result in about["model-index"][0]["results"]
        for metric in result["metrics"]
    }
    assert found == {
        (split, variant, kind): round(value, 4)
        for variant, row in report["variants"].items()
        for split, one in row["splits"].items()
        for kind, value in (
            ("accuracy", one["accuracy"]["value"]),
            ("f1", one["macro_f1"]),
            ("expected_calibration_error", one["calibration_error"]),
        )
    }
    body = text.decode()
    assert "| Training in PublicTest | 280 | 60 | 7 |" in body
    assert "(1234 images)" in body
    assert f"| `{OTHER}` | PrivateTest | 82.00% | 60.00 to 70.00 | 0.722 | 0.221 |" in body
    for section in ("Intended use", "Out of scope", "Training data", "Leak audit", "Calibration",
                    "Limits", "Responsible use and the EU AI Act", "Citation"):  # fmt: skip
        assert f"\n## {section}\n" in body
    assert "![benchmark](plots/benchmark.png)" in body
    report["variants"][OTHER]["model_sha256"] = "0" * 64
    (exported / card.SCORES_FILE).write_text(json.dumps(report))
    with pytest.raises(ValueError, match="is not of these bundles, float32 is another file"):
        push.collect(exported, bundles, None, Target("alice/fer", "model"))


@pytest.mark.slow
def test_scores_are_measured_on_the_splits_that_the_data_has(exported, tmp_path):
    from export import score
    from fer.metrics import classify
    from fer.runtime import TileClassifier
    from fer.tile import make_tile
    from tests.process import call
    from tests.synthetic import drawn, rows, write_csv

    data = drawn({"Training": 1, "PublicTest": 2, "PrivateTest": 3})
    csv = write_csv(tmp_path / "fer2013.csv", rows(data))
    code, _, errors = call(score._main, exported, "--data", csv)
    assert code == 2
    assert "votes must be given" in errors
    for folder in (exported / DEFAULT, exported / OTHER):
        spec = json.loads((folder / "spec.json").read_text())
        spec["calibration"]["truth"] = "labels"
        (folder / "spec.json").write_text(json.dumps(spec))
        sign(folder)
    code, _, errors = call(score._main, exported, "--data", csv)
    assert code == 0, errors
    report = json.loads((exported / card.SCORES_FILE).read_text())
    assert report["training_drops"] == 0
    classifier = TileClassifier(exported / OTHER / "model.tflite")
    for split in ("PublicTest", "PrivateTest"):
        images = data.split(split)
        tiles = np.stack([make_tile(image, classifier.tile_size) for image in images.images])
        expected = classify(classifier.predict(tiles).probabilities, images.labels)
        found = report["variants"][OTHER]["splits"][split]
        assert found["accuracy"]["n"] == len(images)
        assert found["accuracy"]["value"] == expected.accuracy.value
        assert found["macro_f1"] == pytest.approx(expected.macro.f1)
        assert found["calibration_error"] == pytest.approx(expected.ece)
        assert (exported / f"confusion-{split}.png").stat().st_size > 0
    bundles = push.read_bundles(exported)
    assert set(card.read(exported, bundles).scores) == {DEFAULT, OTHER}


def test_without_scores_the_card_has_what_the_gate_measured_alone(exported):
    path = exported / DEFAULT / "manifest.json"
    manifest = json.loads(path.read_text())
    shipped = dict(manifest["parity"])
    manifest["parity"]["macro_f1"] = 0.56789
    path.write_text(json.dumps(manifest))
    bundles = push.read_bundles(exported)
    files = push.collect(exported, bundles, None, Target("alice/fer", "model", revision="next"))
    (result,) = metadata(files["README.md"])["model-index"][0]["results"]
    parity = manifest["parity"]
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("accuracy", round(parity["accuracy"]["value"], 4)),
        ("f1", 0.5679),
        ("expected_calibration_error", round(parity["calibration_error"], 4)),
        ("accuracy", round(parity["accuracy"]["value"], 4)),
        ("f1", round(shipped["macro_f1"], 4)),
        ("expected_calibration_error", round(parity["calibration_error"], 4)),
    ]
    assert b"hf://alice/fer@next photo.jpg" in files["README.md"]


def test_only_what_changed_is_sent_and_what_is_published_no_more_goes(hub, pushed, exported):
    assert pushed()[0] == 0
    repo = hub.repos["model", "alice/fer"]
    hub.write(repo, "by hand", {"notes.txt": b"mine\n"})
    received, url = hub.received, f"{hub.url}/alice/fer/commit/{repo.branches['main'].oid}"
    assert pushed() == (0, f"nothing has changed\n{url}\n", "")
    (exported / DEFAULT / "MODEL_CARD.md").write_text("# Better words\n")
    sign(exported / DEFAULT)
    shutil.rmtree(exported / OTHER)
    code, out, _ = pushed()
    assert code == 0
    # The card, the index, and of the bundle the changed file and its manifest.
    assert "sent 4 files, deleted 8\n" in out
    assert hub.received == received
    kept = {path for path in EXPECTED if not path.startswith(f"{OTHER}/")}
    assert set(hub.files("alice/fer")) == {*kept, "notes.txt"}
    assert len(hub.titles("alice/fer")) == 4


def test_a_card_that_a_person_edited_stays_unless_told_otherwise(hub, pushed, exported):
    assert pushed()[0] == 0
    mine = hub.files("alice/fer")["README.md"] + b"\nMy own words.\n"
    hub.write(hub.repos["model", "alice/fer"], "by hand", {"README.md": mine})
    shutil.rmtree(exported / OTHER)
    code, out, _ = pushed()
    assert code == 0
    assert out.startswith("README.md of alice/fer was edited by hand and stays; --overwrite-card")
    assert hub.files("alice/fer")["README.md"] == mine
    assert f"{OTHER}/model.tflite" not in hub.files("alice/fer")
    assert pushed()[1].startswith("README.md of alice/fer was edited by hand")  # still
    assert pushed("--overwrite-card")[0] == 0
    assert b"My own words" not in hub.files("alice/fer")["README.md"]


def test_a_card_that_was_there_first_stays(hub, pushed):
    hub.create("model", "alice/fer", **{"README.md": b"---\nlicense: mit\n---\nMine.\n"})
    assert pushed()[0] == 0
    assert hub.files("alice/fer")["README.md"].endswith(b"Mine.\n")
    assert set(hub.files("alice/fer")) == EXPECTED


def test_a_private_repository_and_a_branch_are_made_as_asked(hub, pushed):
    assert pushed("--private", "--revision", "next")[0] == 0
    assert hub.repos["model", "alice/fer"].private
    assert hub.titles("alice/fer", revision="next") == ["initial commit", PUBLISH]
    assert hub.titles("alice/fer") == ["initial commit"]


def test_a_name_that_the_hub_does_not_take_is_refused():
    for name in ("fer", "alice/fer/x", "alice/fer?"):
        with pytest.raises(ValueError, match=re.escape(name)):
            Target(name, "model")


@pytest.mark.parametrize(
    ("repo", "token", "more", "says"),
    [
        ("alice/fer", None, (), "no Hugging Face token: run `hf auth login`, or set HF_TOKEN"),
        ("alice/fer", "hf_nobodys", (), "the Hub refused the token"),
        ("alice/fer", "hf_two lines", (), "HF_TOKEN is no token"),
        ("alice/fer", READER, (), "this token may not do that to alice/fer"),
        ("bob/fer", WRITER, (), "this token may not do that to bob/fer"),
        ("alice/demo", WRITER, (), "alice/demo is a space, not a model: choose another name"),
        ("alice/open", WRITER, ("--private",), "alice/open is there already, and public"),
    ],
)
def test_who_may_not_is_told_why_in_one_line(hub, pushed, repo, token, more, says):
    hub.create("space", "alice/demo")
    hub.create("model", "alice/open")
    code, out, errors = pushed(*more, repo=repo, token=token)
    assert (code, out) == (2, "")
    assert says in errors
    assert_one_line(errors)
    assert hub.titles("alice/open") == ["initial commit"]
    assert hub.received == 0


def test_no_network_is_one_line(hub, tmp_path, exported):
    nobody = f"http://127.0.0.1:{free_port()}"
    environment = {**hub.environment(tmp_path / "home"), "HF_ENDPOINT": nobody}
    code, _, errors = command(environment, "export.push", exported, "--repo", "alice/fer")
    assert code == 2
    assert errors.startswith(f"error: cannot reach {nobody}: ")
    assert_one_line(errors)


@pytest.mark.slow
def test_what_passes_is_waited_for(hub, pushed):
    hub.fail("GET /api/models/alice/fer/revision", 503)
    hub.fail("/preupload/", 500)
    hub.fail("/objects/batch", 429, Retry_After="0")
    hub.fail("PUT /storage/", "cut")
    hub.fail("POST /verify/", 502)
    hub.fail("/commit/", "lose")
    code, out, errors = pushed()
    assert (code, errors) == (0, "")
    assert all(fault.times == 0 for fault in hub.faults)
    assert "nothing has changed" in out  # the commit whose answer was lost is found
    assert hub.titles("alice/fer") == ["initial commit", PUBLISH]
    assert set(hub.files("alice/fer")) == EXPECTED


def test_what_does_not_pass_is_one_line(hub, pushed):
    hub.fail("POST /api/repos/create", 429, times=9, Retry_After="0")
    code, _, errors = pushed()
    assert code == 2
    assert "the Hub is busy or in trouble, HTTP 429" in errors
    assert_one_line(errors)


@pytest.mark.parametrize("status", [409, 412])
def test_somebody_elses_commit_meanwhile_is_built_upon(hub, pushed, status):
    hub.conflict = status
    repo = hub.create("model", "alice/fer")
    theirs = {"notes.txt": b"mine\n", "README.md": b"---\nlicense: mit\n---\nMine.\n"}
    hub.fail("/commit/main", lambda: hub.write(repo, "by hand", theirs))
    assert pushed()[0] == 0
    assert hub.titles("alice/fer") == ["initial commit", "by hand", PUBLISH]
    files = hub.files("alice/fer")
    assert set(files) == {*EXPECTED, "notes.txt"}
    assert files["README.md"] == theirs["README.md"]


@pytest.mark.slow
def test_a_push_that_is_killed_anywhere_is_made_whole_by_the_next(hub, exported, tmp_path):
    environment = hub.environment(tmp_path / "home")
    points = [
        ("POST /api/repos/create", "hang", signal.SIGKILL),
        ("POST /api/repos/create", "hang after", signal.SIGKILL),
        ("/preupload/", "hang", signal.SIGTERM),
        ("PUT /storage/", "hang", signal.SIGKILL),
        ("PUT /storage/", "hang after", signal.SIGKILL),
        ("POST /verify/", "hang", signal.SIGKILL),
        ("/commit/main", "hang", signal.SIGINT),
        ("/commit/main", "hang after", signal.SIGKILL),
    ]
    for pattern, kind, number in points:
        fault = hub.fail(pattern, kind)
        process = start(environment, "export.push", exported, "--repo", "alice/fer")
        assert fault.reached.wait(60), pattern
        process.send_signal(number)
        code, _, errors = finish(process)
        if number == signal.SIGKILL:
            assert code == -number
        else:
            assert code == 128 + number
            assert "interrupted; nothing on the Hub is half done; push again" in errors
            assert_one_line(errors)
        if ("model", "alice/fer") in hub.repos and kind != points[-1][1]:
            assert set(hub.files("alice/fer")) == {".gitattributes"}
    assert set(hub.files("alice/fer")) == EXPECTED
    hub.requests.clear()
    code, out, _ = command(environment, "export.push", exported, "--repo", "alice/fer")
    assert code == 0
    assert out.startswith("nothing has changed\n")
    assert hub.titles("alice/fer") == ["initial commit", PUBLISH]


def test_a_hub_that_offers_xet_gets_large_files_by_it(hub, exported, tmp_path):
    environment = hub.environment(tmp_path / "home", xet=True)
    fault = hub.fail("/xet-write-token/", 503, times=1000)
    process = start(environment, "export.push", exported, "--repo", "alice/fer")
    assert fault.reached.wait(60)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)  # heard although hf_xet tries again and again
    code, _, errors = finish(process)
    hub.faults.clear()
    assert code == 128 + signal.SIGTERM
    assert_one_line(errors)
    assert set(hub.files("alice/fer")) == {".gitattributes"}
    code, _, errors = command(environment, "export.push", exported, "--repo", "alice/fer")
    assert (code, errors) == (0, "")
    assert hub.received == 0  # nothing by LFS
    assert set(hub.repos["model", "alice/fer"].branches["main"].files) == EXPECTED
    assert hub.titles("alice/fer") == ["initial commit", PUBLISH]


def test_a_dry_run_asks_nobody_and_shows_files_and_card(hub, pushed):
    code, out, errors = pushed("--dry-run", token=None)
    assert (code, errors) == (0, "")
    assert f"  {OTHER}/model.tflite\n" in out
    assert "## Intended use\n" in out
    assert hub.requests == []


def test_what_is_not_whole_is_not_published(exported, tmp_path):
    target = Target("alice/fer", "model")
    bundles = push.read_bundles(exported)
    assert [each.variant for each in bundles] == [DEFAULT, OTHER]
    assert [each.variant for each in push.read_bundles(exported, OTHER)] == [OTHER, DEFAULT]
    with pytest.raises(ValueError, match="default must be one of"):
        push.read_bundles(exported, "qat_int8")
    with pytest.raises(ValueError, match="checkpoint must be what the bundles were made from"):
        push.collect(exported, bundles, ROOT / "README.md", target)
    with pytest.raises(ValueError, match="DIR must hold bundles"):
        push.read_bundles(tmp_path)
    for folder in (exported / DEFAULT, exported / OTHER):
        (folder / "model.keras").unlink()
        sign(folder)
    with pytest.raises(ValueError, match="checkpoint must be given"):
        push.collect(exported, push.read_bundles(exported), None, target)
    make_bundle(exported / "again", OTHER)
    with pytest.raises(ValueError, match="DIR must hold each variant once"):
        push.read_bundles(exported)
    shutil.rmtree(exported / "again")
    (exported / OTHER / "labels.txt").write_text("happy\n")
    with pytest.raises(ValueError, match=r"cannot be published: labels.txt is missing or was"):
        push.read_bundles(exported)


def space_files(hub, name="alice/demo"):
    return {path: content for path, content in hub.files(name, "space").items()
            if path != ".gitattributes"}  # fmt: skip


def test_a_space_holds_what_the_app_needs_and_no_training_code(hub, tmp_path):
    environment = hub.environment(tmp_path / "home")
    code, out, errors = command(environment, "export.push_space", "--repo", "alice/demo")
    assert (code, errors) == (0, "")
    assert out.splitlines()[-1].startswith(f"{hub.url}/spaces/alice/demo/commit/")
    assert hub.titles("alice/demo", "space") == ["initial commit", "Publish the demo"]
    files = space_files(hub)
    own = {"README.md", "published.json", *push_space._FILES}
    folders = {path.split("/")[0] for path in files if "/" in path}
    assert {path for path in files if "/" not in path} == own
    assert folders == {"examples", "fer"}
    assert "fer/assets/model/model.tflite" in files
    for path in files:
        assert not re.search(r"^fer/nn/|\.keras$|\.pyc$|__pycache__|/\.", path), path
    about = metadata(files["README.md"])
    assert about["sdk"] == "gradio"
    assert f"gradio[mcp]=={about['sdk_version']}\n" in (ROOT / "requirements.txt").read_text()
    assert about["app_file"] == "app.py"
    supported = (ROOT / "pyproject.toml").read_text()
    assert f'Python :: {about["python_version"]}"' in supported
    assert len(about["short_description"]) <= 60  # the Hub takes no more
    assert command(environment, "export.push_space", "--repo", "alice/demo")[1].startswith(
        "nothing has changed\n"
    )


def test_a_space_can_take_its_model_from_the_hub(hub, pushed, tmp_path):
    assert pushed()[0] == 0
    code, _, errors = command(hub.environment(tmp_path / "home"), "export.push_space",
                              "--repo", "alice/demo",
                              "--model-repo", f"alice/fer@main/{OTHER}")  # fmt: skip
    assert (code, errors) == (0, "")
    files = space_files(hub)
    assert json.loads(files["fer/assets/model/spec.json"])["variant"] == OTHER
    assert not any(path.startswith("fer/assets/model/golden") for path in files)
    assert metadata(files["README.md"])["models"] == ["alice/fer"]


def test_a_space_holds_no_file_that_was_made_by_the_way(tmp_path):
    made = ["fer/__pycache__/a.pyc", "fer/web/components.pyi", "examples/.DS_Store"]
    for name in ["app.py", "LICENSE", "NOTICE", "fer/a.py", "examples/a.png", *made]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "requirements.txt").write_text("gradio[mcp]==6.31.0\n")
    own = {"README.md", *push_space._FILES}
    assert set(push_space.collect(tmp_path)) == own | {"fer/a.py", "examples/a.png"}


def test_a_space_that_is_too_large_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(push_space, "MOST_BYTES", 5_000_000)
    with pytest.raises(ValueError, match=r"at most 5 MB.*the largest file is fer/assets/variants/"):
        push_space.collect(ROOT)
    with pytest.raises(ValueError, match=r"app\.py is missing"):
        push_space.collect(tmp_path)


# The demo's own environment has what requirements.txt names and nothing else, as a Space has; `make
# test` makes it. Where it is missing, this one serves, with what a Space lacks made unimportable.
_DEMO_PYTHON = ROOT / ".venv" / "bin" / "python"
_START = """
import sys
absent = ("tensorflow", "keras", "tf_keras", "matplotlib", "train", "export")
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ImportError(f"{name} is not in a Space")
sys.meta_path.insert(0, Missing())
sys.path.insert(0, sys.argv.pop(1))
import runpy
runpy.run_path(sys.path[0] + "/app.py", run_name="__main__")
"""


@pytest.mark.slow
def test_the_app_starts_from_the_upload_alone(hub, tmp_path):
    code, *_ = command(hub.environment(tmp_path / "home"), "export.push_space",
                       "--repo", "alice/demo")  # fmt: skip
    assert code == 0
    folder = tmp_path / "space"
    for path, content in space_files(hub).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    port = free_port()
    assert _DEMO_PYTHON.exists() or not os.environ.get("CI"), "CI must have made .venv"
    python = _DEMO_PYTHON if _DEMO_PYTHON.exists() else sys.executable
    # Isolated (-I): neither this project's folder nor PYTHONPATH can lend a module.
    process = subprocess.Popen(
        [str(python), "-I", "-c", _START, str(folder)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GRADIO_SERVER_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert "fer-edge" in _page(process, f"http://127.0.0.1:{port}/")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _page(process, url, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.2)
    process.kill()
    return pytest.fail(f"the app did not start: {process.stdout.read()}")


@pytest.mark.network
@pytest.mark.skipif(not os.environ.get("HF_TOKEN"), reason="needs HF_TOKEN, which may write")
def test_the_real_hub_takes_and_gives_a_bundle(exported, tmp_path):
    from huggingface_hub import HfApi

    api = HfApi()
    repo = f"{api.whoami()['name']}/fer-edge-test-{os.getpid()}"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    try:
        for begins in ("sent", "nothing has changed"):
            code, out, errors = command(environment, "export.push", exported, "--repo", repo,
                                        "--private")  # fmt: skip
            assert code == 0, errors
            assert out.startswith(begins)
        code, out, errors = command(environment, "fer", "--model", f"hf://{repo}",
                                    ROOT / "examples" / "astronaut.png")  # fmt: skip
        assert code == 0, errors
        assert "happy" in out
    finally:
        api.delete_repo(repo, missing_ok=True)

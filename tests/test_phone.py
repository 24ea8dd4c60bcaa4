"""The on-device page in Chromium, against Python: the same tiles, boxes and probabilities."""

import base64
import contextlib
import functools
import gzip
import json
import os
import re
import shutil
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import free_port
from PIL import Image
from playwright.sync_api import expect

from export.phone import handover, page
from fer.faces import BlazeFaceConfig, BlazeFaceDetector, FaceBox, crop_square
from fer.image import load_image
from fer.labels import LABELS
from fer.occlusion import importance
from fer.recognizer import DEFAULT_BUNDLE
from fer.runtime import TileClassifier
from fer.spec import CropSpec, ModelSpec
from fer.tile import make_tile
from fer.web.compare import VARIANTS
from tests import npm
from tests.browser import CHROMIUM, TIMEOUT, chromium, screenshot, write_film
from tests.phone_guide import code

MOST_BYTES = 8e6
FLOAT32 = VARIANTS / "float32"


class Recording(SimpleHTTPRequestHandler):
    """Serves files and keeps what was asked for, and how much was sent."""

    def log_message(self, *_):
        pass

    def log_request(self, code="-", size="-"):
        self.server.asked.append(self.path)

    modified = None  # without it, nothing is had for a question alone

    def send_header(self, keyword, value):
        if keyword == "Last-Modified":
            value = self.modified
        if value:
            super().send_header(keyword, value)

    def copyfile(self, source, outputfile):
        content = source.read()
        self.server.sent += len(content)
        outputfile.write(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page, and for the tests npm's packages beside it."""
    if not Path(CHROMIUM).exists() and "CI" not in os.environ:
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    folder = tmp_path_factory.mktemp("phone") / "web"
    modules = npm.installed(development=True)
    page.write(folder, DEFAULT_BUNDLE)
    other = folder / "float32"
    other.mkdir()
    for path in folder.iterdir():
        if path not in (other, folder / "model.tflite.packed"):
            (other / path.name).symlink_to(path)
    packed = gzip.compress((FLOAT32 / "model.tflite").read_bytes(), 1)
    (other / "model.tflite.packed").write_bytes(packed)
    (folder / "node_modules").symlink_to(modules)
    return folder


@contextlib.contextmanager
def serving(folder, handler=Recording):
    """Serves a folder; ``asked`` and ``sent`` are what went over the wire."""
    handler = functools.partial(handler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked, server.sent = [], 0
    server.address = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def site(folder):
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    with chromium(write_film(tmp_path_factory.mktemp("camera") / "portrait.y4m", 30)) as browser:
        yield browser


@pytest.fixture
def context(browser):
    """A visitor's browser; the test fails where a page errs or breaks its own policy."""
    context = browser.new_context(permissions=["camera"], reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT)
    expect.set_options(timeout=TIMEOUT)
    errors = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on(
        "console",
        lambda said: errors.append(said.text) if "Content Security" in said.text else None,
    )
    yield context
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def run(browser, site):
    """Runs JavaScript beside the page's modules, with its model or the one in another folder."""
    tabs = {}

    def run(script, argument=None, model=""):
        if model not in tabs:
            tabs[model] = browser.new_page()
            tabs[model].set_default_timeout(TIMEOUT)
            tabs[model].goto(f"{site.address}{model}LICENSE.txt")
            tabs[model].evaluate(LOAD)
        return tabs[model].evaluate(script, argument)

    yield run
    for tab in tabs.values():
        tab.context.close()


def encoded(array):
    return base64.b64encode(array.tobytes()).decode("ascii")


LOAD = """async () => {
    self.bytes = (text) => Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt());
    self.recognizer = await (await import("./emotions.js")).loadRecognizer();
}"""

PREDICT = """async (tiles) => {
    const found = [];
    for (const tile of tiles) found.push(await recognizer.predict(Float32Array.from(bytes(tile))));
    return found;
}"""

READ = """async ([pixels, width, height]) => {
    const faces = await recognizer.read(new ImageData(bytes(pixels), width, height));
    return faces.map(({ box, square, probabilities }) => ({ box, square, probabilities }));
}"""

LOOK = """async ([pixels, width, height, changes]) => {
    const { faceDetector } = await import("./faces.js");
    const { body } = await fetch("face_detector.tflite.packed");
    const unpacked = new Response(body.pipeThrough(new DecompressionStream("gzip")));
    const settings = { ...recognizer.settings.detector, ...changes };
    const detect = faceDetector(new Uint8Array(await unpacked.arrayBuffer()), settings);
    return detect(new ImageData(bytes(pixels), width, height));
}"""

EXPLAIN = """async ([tile, best]) =>
    [...await recognizer.importance({ tile: Float32Array.from(bytes(tile)), best })]"""

RESAMPLE = """async ([pixels, width, height, part, size]) => {
    const { resample } = await import("./tile.js");
    return [...resample({ data: bytes(pixels), width, height }, part, size, size)];
}"""

MEDIAPIPE = """async ([kind, model, options]) => {
    const place = "/node_modules/@mediapipe/tasks-vision";
    const tasks = await import(`${place}/vision_bundle.mjs`);
    const files = await tasks.FilesetResolver.forVisionTasks(`${place}/wasm`);
    const baseOptions = { modelAssetPath: model, delegate: "CPU" };
    self.mediapipe = await tasks[kind].createFromOptions(files, { baseOptions, ...options });
}"""

CLASSIFY = """([tiles, size]) => {
    return tiles.map((tile) => {
        const { classifications } = mediapipe.classify(new ImageData(bytes(tile), size, size));
        const scores = classifications[0].categories;
        return Object.fromEntries(scores.map((found) => [found.categoryName, found.score]));
    });
}"""


DETECT = """([pixels, width, height]) => {
    const { detections } = mediapipe.detect(new ImageData(bytes(pixels), width, height));
    return detections.map(({ boundingBox }) => boundingBox);
}"""

GUIDE = """<!doctype html><title>The guide's lines</title>
<script type="importmap">{"imports": {
    "@litertjs/core": "/node_modules/@litertjs/core/dist/index.js",
    "@litertjs/wasm-utils": "/node_modules/@litertjs/wasm-utils/dist/index.js"
}}</script>
<script type="module">
const tile = new Float32Array(pixels);
%s
self.answer = probabilities;
</script>"""


def golden(bundle):
    """Returns a bundle's golden tiles and the probabilities they must get."""
    answers = json.loads((bundle / "golden" / "golden.json").read_text())["probabilities"]
    tiles = [load_image(bundle / "golden" / f"{name}.png") for name in answers]
    return tiles, np.array(list(answers.values()))


def rgba(picture):
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    return np.concatenate([picture, opaque], axis=2)


@pytest.mark.slow
def test_golden_vectors_of_float32_get_the_same_probabilities_in_the_browser(run):
    tiles, expected = golden(FLOAT32)
    found = run(PREDICT, [encoded(tile) for tile in tiles], "float32/")
    assert np.abs(np.array(found) - expected).max() < 1e-3


@pytest.mark.slow
def test_golden_faces_of_int8_get_the_same_labels_in_the_browser(run):
    tiles, expected = golden(DEFAULT_BUNDLE)
    found = np.array(run(PREDICT, [encoded(tile) for tile in tiles]))
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(found - expected).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("bundle", [FLOAT32, DEFAULT_BUNDLE], ids=["float32", "int8"])
def test_golden_vectors_get_the_same_answers_from_mediapipe(run, folder, bundle):
    files = dict(handover.for_mediapipe(bundle, ModelSpec.load(bundle)))
    (folder / "taken.tflite").write_bytes(files["mediapipe/classifier.tflite"])
    tiles, expected = golden(bundle)
    run(MEDIAPIPE, ["ImageClassifier", "/taken.tflite", {"maxResults": len(LABELS)}])
    answers = run(CLASSIFY, [[encoded(rgba(tile)) for tile in tiles], len(tiles[0])])
    found = np.array([[answer.get(label, 0.0) for label in LABELS] for answer in answers])
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    if bundle == FLOAT32:
        assert np.abs(found - expected).max() < 1e-3


@pytest.mark.slow
def test_mediapipe_takes_the_handovers_detector_and_finds_the_same_face(
    run, folder, recognizer, unpacked, astronaut
):
    (folder / "detector.tflite").symlink_to(unpacked / "mediapipe" / "face_detector.tflite")
    photo = load_image(astronaut)
    (expected,) = recognizer.recognize(photo)
    run(MEDIAPIPE, ["FaceDetector", "/detector.tflite", {}])
    (found,) = run(DETECT, [encoded(rgba(photo)), photo.shape[1], photo.shape[0]])
    there = [found[edge] for edge in ("originX", "originY", "width", "height")]
    here = [getattr(expected.box, edge) for edge in ("x", "y", "width", "height")]
    assert there == pytest.approx(here, abs=0.15 * expected.box.width)


@pytest.mark.slow
def test_the_guides_lines_for_the_web_give_the_golden_answer(context, folder, site, unpacked):
    bundle = unpacked / "models" / ModelSpec.load(DEFAULT_BUNDLE).variant
    tiles, expected = golden(bundle)
    (folder / "guide").mkdir()
    (folder / "guide" / "model.tflite").symlink_to(bundle / "model.tflite")
    (folder / "guide" / "index.html").write_text(GUIDE % code(unpacked / "README.md", "js"))
    tab = context.new_page()
    tab.add_init_script(f"self.pixels = {tiles[0].ravel().tolist()}")
    tab.goto(f"{site.address}guide/")
    found = tab.wait_for_function("self.answer").json_value()
    assert np.abs(np.array(found) - expected[0]).max() < 0.05
    assert sum(found) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["astronaut", "group", "no_face"])
def test_photo_is_read_as_in_python(run, recognizer, request, name):
    photo = load_image(request.getfixturevalue(name))
    expected = recognizer.recognize(photo)
    found = run(READ, [encoded(rgba(photo)), photo.shape[1], photo.shape[0]])
    assert len(found) == len(expected) == {"astronaut": 1, "group": 3, "no_face": 0}[name]
    for there, here in zip(found, expected, strict=True):
        edges = [there["box"][edge] - getattr(here.box, edge) for edge in ("x", "y")]
        sizes = [there["box"][side] - getattr(here.box, side) for side in ("width", "height")]
        assert np.abs([*edges, *sizes]).max() < 0.03 * max(here.box.width, here.box.height)
        difference = np.array(there["probabilities"]) - list(here.probabilities.values())
        assert np.abs(difference).max() < 0.05


@pytest.mark.slow
def test_faces_are_looked_at_more_closely_as_in_python(run, group):
    photo = load_image(group)
    counts = []
    for changes in ({"sure": 1.0, "confirm": confirm} for confirm in (0.7, 0.9, 0.92, 0.95, 0.98)):
        expected = BlazeFaceDetector(config=replace(BlazeFaceConfig(), **changes)).detect(photo)
        found = run(LOOK, [encoded(rgba(photo)), photo.shape[1], photo.shape[0], changes])
        assert [box["x"] for box in found] == pytest.approx([box.x for box in expected], abs=3)
        counts.append(len(found))
    assert counts[0] == 3
    assert counts[-1] == 0


@pytest.mark.slow
def test_what_an_answer_rests_on_is_the_same(run):
    tiles, expected = golden(FLOAT32)
    classifier = TileClassifier(FLOAT32 / "model.tflite")
    best = int(expected[0].argmax())
    rests = importance(
        lambda tiles: classifier.predict(tiles).probabilities[:, best],
        tiles[0].astype(np.float32),
    )
    found = run(EXPLAIN, [encoded(tiles[0]), best], "float32/")
    assert np.ptp(rests) > 0.5
    np.testing.assert_allclose(np.reshape(found, rests.shape), rests, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("side", [5, 40, 111, 112, 113, 150, 224, 301])
def test_tile_is_within_a_grey_level_of_pythons(run, side):
    rng = np.random.default_rng(side)
    picture = rng.integers(0, 256, (320, 400, 3), np.uint8)
    for left, top in ((37, 11), (-20, 300 - side // 2)):  # inside, and past the picture's edges
        rows = np.arange(top, top + side).clip(0, 319)
        columns = np.arange(left, left + side).clip(0, 399)
        expected = make_tile(np.ascontiguousarray(picture[rows][:, columns]), 112)
        found = run(RESAMPLE, [encoded(rgba(picture)), 400, 320, [left, top, side, side], 112])
        assert np.abs(np.reshape(found, expected.shape) - expected).max() < 1


@pytest.mark.slow
def test_square_is_pythons(run):
    crop = CropSpec(scale=1.07, offset_y=-0.09)
    rng = np.random.default_rng(0)
    boxes = [FaceBox(*rng.uniform(1, 400, 4).tolist(), 1.0) for _ in range(50)]
    sides = [{"x": b.x, "y": b.y, "width": b.width, "height": b.height} for b in boxes]
    found = run(
        """async ([boxes, crop]) => {
            const { cropSquare } = await import("./tile.js");
            return boxes.map((box) => cropSquare(box, crop));
        }""",
        [sides, {"scale": crop.scale, "offset_y": crop.offset_y}],
    )
    assert [tuple(square[:3]) for square in found] == [crop_square(box, crop) for box in boxes]


def expect_bars(tab, label=None):
    bars = tab.get_by_role("table", name="Probability of each expression")
    expect(bars.locator("tbody").get_by_role("rowheader")).to_have_text(LABELS)
    expect(bars.locator(".fer-value")).to_have_text(7 * [re.compile(r"^\d+\.\d%$")])
    if label:
        expect(tab.locator(".fer-top th")).to_have_text(label)


def ready(tab):
    expect(tab.get_by_role("heading", name="Ready")).to_be_visible()


@pytest.mark.slow
def test_visitor_loads_once_sends_nothing_and_comes_back_offline(context, folder, astronaut):
    with serving(folder) as site:
        visit(context, site, astronaut)
    context.set_offline(True)  # and nobody listens any more
    tab = context.new_page()
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(astronaut)
    expect_bars(tab, "happy")


def visit(context, site, astronaut):
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    tab = context.new_page()
    tab.goto(site.address)
    ready(tab)
    assert 5e6 < site.sent <= MOST_BYTES
    asked.clear()
    loaded = len(site.asked)

    tab.locator("#photo").set_input_files(astronaut)
    expect(tab.locator(".fer-box")).to_have_text(["happy"])
    expect_bars(tab, "happy")
    tab.get_by_role("button", name="What does this rest on?").click()
    expect(tab.get_by_text("covering this makes")).to_be_visible()
    tab.get_by_role("button", name="Start the camera").click()
    expect(tab.locator("#figures")).to_have_text(re.compile(r"\d+ frames/s"))
    expect(tab.locator(".fer-box")).to_have_count(1)
    expect_bars(tab)
    tab.locator(".fer-box").click()  # while its picture changes
    expect(tab.get_by_role("button", name="What does this rest on?")).to_be_hidden()
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_role("button", name="What does this rest on?").click()  # of the last frame
    expect(tab.get_by_text("covering this makes")).to_be_visible()
    tab.close()
    assert [url for url in asked if urlsplit(url).scheme not in ("blob", "data")] == []
    assert len(site.asked) == loaded


class Old(Recording):
    """A host whose files a browser thinks it need not ask for again."""

    modified = "Wed, 01 Jan 2020 00:00:00 GMT"


@pytest.mark.slow
def test_new_version_is_seen_at_once_and_whole(context, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    with serving(tmp_path / "web", Old) as site:
        tab = context.new_page()
        for _ in range(2):
            tab.goto(site.address)
            ready(tab)
        for name in ("app.js", "faces.js", "tile.js"):
            with (tmp_path / "web" / name).open("a") as file:
                file.write(f"(self.seen ??= []).push('{name}');")
        tab.goto(site.address)
        ready(tab)
        assert sorted(tab.evaluate("seen")) == ["app.js", "faces.js", "tile.js"]


@pytest.mark.slow
def test_what_was_chosen_last_is_shown(context, site, astronaut, no_face, tmp_path):
    large = tmp_path / "large.png"
    with Image.open(no_face) as picture:
        picture.resize((6000, 4000)).save(large, compress_level=1)
    tab = context.new_page()
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(large)
    tab.locator("#photo").set_input_files(astronaut)
    expect_bars(tab, "happy")
    camera = tab.locator("#camera")
    camera.click()
    expect(camera).to_be_enabled()
    camera.click()
    expect(camera).to_have_text("Start the camera")
    tab.wait_for_timeout(1000)  # for whatever comes too late
    expect(camera).to_have_text("Start the camera")
    expect(tab.locator("#figures")).to_have_text("")
    tab.locator("#photo").set_input_files(no_face)
    expect(tab.get_by_role("heading", name="No face found")).to_be_visible()
    tab.locator("#photo").set_input_files(astronaut)  # once more
    expect_bars(tab, "happy")


@pytest.mark.slow
def test_camera_that_is_unplugged_is_told(context, site):
    tab = context.new_page()
    tab.add_init_script(
        """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (what) => (self.stream = await ask(what));"""
    )
    tab.goto(site.address)
    ready(tab)
    tab.locator("#camera").click()
    expect(tab.locator("#figures")).to_have_text(re.compile("frames/s"))
    tab.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(tab.get_by_role("heading", name="The camera is gone")).to_be_visible()
    expect(tab.locator("#camera")).to_have_text("Start the camera")


@pytest.mark.slow
def test_evidence_asked_for_twice_is_the_same(context, site, astronaut):
    tab = context.new_page()
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(astronaut)
    explain = tab.get_by_role("button", name="What does this rest on?")
    explain.click()
    expect(tab.get_by_text("covering this makes")).to_be_visible()
    first = tab.evaluate("document.getElementById('picture').toDataURL()")
    explain.click()
    tab.wait_for_timeout(1500)
    assert tab.evaluate("document.getElementById('picture').toDataURL()") == first


@pytest.mark.slow
def test_photo_without_a_face_and_no_photo_are_explained(context, site, no_face, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"This is no picture.")
    tab = context.new_page()
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(no_face)
    expect(tab.get_by_role("heading", name="No face found")).to_be_visible()
    expect(tab.locator("#result")).to_be_hidden()
    tab.locator("#photo").set_input_files(broken)
    expect(tab.get_by_role("heading", name="This photo could not be read")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_accessible(context, site, group, theme):
    from axe_playwright_python.sync_playwright import Axe

    tab = context.new_page()
    tab.emulate_media(color_scheme=theme)
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(group)
    expect(tab.locator(".fer-box")).to_have_count(3)
    tab.locator(".fer-box").nth(1).click()
    expect(tab.get_by_role("button", pressed=True)).to_have_count(1)
    found = Axe().run(tab).response["violations"]
    serious = [found["id"] for found in found if found["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.slow
def test_page_fits_a_phone(context, site, astronaut):
    tab = context.new_page()
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(site.address)
    ready(tab)
    tab.locator("#photo").set_input_files(astronaut)
    expect_bars(tab, "happy")
    tab.get_by_role("button", name="What does this rest on?").click()
    expect(tab.get_by_text("covering this makes")).to_be_visible()
    screenshot(tab, "device")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    tab.get_by_role("button", name="Start the camera").click()
    expect(tab.locator("#figures")).to_have_text(re.compile(r"\d+ frames/s"))
    assert tab.locator(".fer-top .fer-track").bounding_box()["width"] > 150
    tag = tab.locator(".fer-tag")
    assert tag.bounding_box()["height"] > 16  # its background is behind the whole name


@pytest.mark.slow
def test_page_can_be_installed(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (icon,) = manifest["icons"]
    with Image.open(folder / icon["src"]) as image:
        assert icon["sizes"] == f"{image.width}x{image.height}"
    assert manifest["display"] == "standalone"
    assert (folder / manifest["start_url"] / "index.html").is_file()
    named = set(re.findall(r'(?:href|src)="([^"]+)"', (folder / "index.html").read_text()))
    assert {"manifest.json", "app.js"} <= named
    assert all((folder / name).is_file() for name in named)


@pytest.mark.slow
def test_app_serves_the_page(recognizer, tmp_path):
    from fer.web.page import build
    from fer.web.server import serve

    (tmp_path / "index.html").write_text("<p>on the device</p>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
        demo = build(recognizer, device=True)
        url = serve(demo, recognizer.spec, "127.0.0.1", free_port(), device=tmp_path)
        with urlopen(url + "device/") as answer:
            assert answer.read() == b"<p>on the device</p>"
        demo.close()


def test_app_links_the_page_only_where_it_is(recognizer):
    from fer.web.page import build

    assert 'href=\\"device/\\"' in json.dumps(build(recognizer, device=True).config)
    assert 'href=\\"device/\\"' not in json.dumps(build(recognizer).config)

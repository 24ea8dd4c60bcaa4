"""The page in Chromium, as a visitor uses it.

``FER_SCREENSHOTS=docs/images python -m pytest tests/test_browser.py -k readme`` makes
``docs/images/app.png``; without ``-k``, pictures of the page's other states as well.
"""

import base64
import csv
import io
import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from fer.labels import LABELS
from fer.overlay import COLOURS
from tests.browser import CHROMIUM, FADE, TIMEOUT, chromium, screenshot, write_film

if not Path(CHROMIUM).exists() and "CI" not in os.environ:
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)
pytestmark = pytest.mark.slow
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(write_film(tmp_path_factory.mktemp("camera") / "portrait.y4m", 10)) as browser:
        yield browser


@pytest.fixture(scope="module")
def long_clip(clip, tmp_path_factory):
    """Twenty seconds: the short clip ten times over."""
    path = tmp_path_factory.mktemp("videos") / "long.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for turn in range(10):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.stream, again.time_base = stream, packet.time_base
                shift = turn * round(2 / packet.time_base)
                again.pts, again.dts = packet.pts + shift, packet.dts + shift
                again.is_keyframe = packet.is_keyframe
                target.mux(again)
    return path


@pytest.fixture
def visit(browser, server):
    """Opens the page; fails the test where the page errs or asks any other host for anything."""
    contexts = []
    errors = []
    hosts = set()

    def note(request):
        if urlsplit(request.url).scheme not in ("data", "blob"):
            hosts.add(urlsplit(request.url).hostname)

    def visit(viewport=DESKTOP, theme="light", camera=True):
        allowed = ["clipboard-read", "clipboard-write", *(["camera"] if camera else [])]
        context = browser.new_context(viewport=viewport, permissions=allowed)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        context.on("request", note)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.route(
            lambda url: urlsplit(url).hostname not in ("127.0.0.1", None),
            lambda route: route.abort(),
        )
        page = context.new_page()
        page.goto(f"{server}?__theme={theme}")
        expect(page.get_by_text("Your result appears here")).to_be_visible()
        return page

    expect.set_options(timeout=TIMEOUT)
    yield visit
    for context in contexts:
        context.close()
    assert hosts <= {"127.0.0.1"}
    assert errors == []


def choose(page, path, kind="an image"):
    """Chooses a file as a visitor does, through the file chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=f"Drop {kind} file here to upload").click()
    chooser.value.set_files(path)


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def saved(page, name):
    """Clicks a link or button that saves a file, and returns the file's content."""
    with page.expect_download() as download:
        page.locator(".fer-downloads:visible").get_by_text(name, exact=True).click()
    return Path(download.value.path()).read_bytes()


def expect_accessible(page):
    """Fails on violations that axe-core calls serious or critical."""
    page.wait_for_timeout(FADE)
    found = Axe().run(page).response["violations"]
    assert [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ] == []


def expect_portrait_read(page, part="#result"):
    expect(page.locator(".fer-box")).to_have_count(1)
    table = page.locator(part).get_by_role("table")
    expect(table.get_by_role("rowheader")).to_have_text(LABELS)
    expect(table.locator(".fer-value")).to_have_text(7 * [re.compile(r"\d%$")])
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def contrast(locator):
    """WCAG contrast of a text with what is painted behind it."""
    colours = locator.evaluate(
        """element => {
            const canvas = new OffscreenCanvas(1, 1).getContext("2d");
            const behind = [];
            for (let at = element; at; at = at.parentElement)
                behind.unshift(getComputedStyle(at).backgroundColor);
            const paint = colour => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); };
            const read = () => [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            behind.forEach(paint);
            const background = read();
            paint(getComputedStyle(element).color);
            return [background, read()];
        }"""
    )

    def luminance(colour):
        share = [value / 255 for value in colour]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in share]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_uploaded_portrait_is_happy_for_the_readme(visit, astronaut):
    page = visit()
    choose(page, astronaut)
    expect_portrait_read(page)
    screenshot(page, "app")
    expect(page.locator(".fer-top th")).to_have_text("happy")
    expect(page.locator("#result h2")).to_contain_text("appy")
    assert page.locator(".fer-track span").evaluate_all(
        "bars => Math.max(...bars.map(bar => bar.offsetWidth))"
    ) == page.locator(".fer-top .fer-track span").evaluate("bar => bar.offsetWidth")


def test_removing_the_photo_clears_the_result_and_another_can_follow(visit, astronaut, no_face):
    page = visit()
    choose(page, astronaut)
    expect_portrait_read(page)
    page.get_by_role("button", name="Remove Image").click()
    expect(page.get_by_text("Your result appears here")).to_be_visible()
    expect(page.locator(".fer-photo")).to_have_count(0)
    choose(page, no_face)
    expect(page.get_by_text("No face found")).to_be_visible()
    expect(page.get_by_role("img", name="Your photo")).to_be_visible()
    expect(page.locator(".fer-box")).to_have_count(0)
    screenshot(page, "no-face")


def test_example_is_read_when_clicked(visit):
    page = visit()
    page.get_by_role("button", name="Or try this portrait").click()
    expect_portrait_read(page)


def test_snapshot_from_the_camera_is_read(visit):
    page = visit()
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    screenshot(page, "camera")
    page.get_by_role("button", name="capture photo").click()
    expect_portrait_read(page)


def test_picture_is_pasted_from_the_clipboard(visit, astronaut):
    page = visit()
    page.evaluate(
        """async data => {
            const picture = await (await fetch(`data:image/png;base64,${data}`)).blob();
            await navigator.clipboard.write([new ClipboardItem({"image/png": picture})]);
        }""",
        base64.b64encode(astronaut.read_bytes()).decode(),
    )
    page.get_by_role("button", name="Paste from clipboard").click()
    expect_portrait_read(page)


def test_face_is_chosen_by_click_and_by_keyboard(visit, group):
    page = visit()
    choose(page, group)
    faces = page.get_by_role("radio")
    expect(faces).to_have_count(3)
    panel = page.locator(".fer-panel:visible")
    expect(panel).to_have_count(1)
    expect(panel).to_have_accessible_name("Face 1")
    page.locator(".fer-box").nth(2).click()
    expect(panel).to_have_accessible_name("Face 3")
    expect(panel.get_by_role("rowheader")).to_have_text(LABELS)
    page.locator(".fer-chip").nth(0).click()
    expect(panel).to_have_accessible_name("Face 1")
    faces.nth(0).press("ArrowRight")
    expect(faces.nth(1)).to_be_focused()
    expect(panel).to_have_accessible_name("Face 2")
    screenshot(page, "group")


def test_broken_file_is_explained_without_a_traceback(visit, tmp_path, astronaut):
    broken = tmp_path / "holiday.jpg"
    broken.write_bytes(b"This is no picture.")
    page = visit()
    choose(page, broken)
    alert = page.locator("#result").get_by_role("alert")
    expect(alert).to_contain_text("holiday.jpg: is not a picture that can be read")
    expect(page.locator("body")).not_to_contain_text("Traceback")
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    screenshot(page, "broken")
    page.get_by_role("button", name="Remove Image").click()
    choose(page, astronaut)
    expect_portrait_read(page)


def test_result_is_saved_as_png_csv_and_json(visit, group):
    page = visit()
    choose(page, group)
    expect(page.locator(".fer-box")).to_have_count(3)
    with Image.open(io.BytesIO(saved(page, "PNG"))) as image, Image.open(group) as original:
        assert image.format == "PNG"
        assert image.size == original.size
        before, after = (np.asarray(each.convert("RGB")).astype(int) for each in (original, image))
    happy = [int(COLOURS["happy"][index : index + 2], 16) for index in (1, 3, 5)]
    assert (np.abs(after - happy).max(axis=2) < 8).sum() > 500, "no box in the picture"
    assert np.median(np.abs(after - before)) < 8, "not the same photo"
    table = list(csv.DictReader(io.StringIO(saved(page, "CSV").decode())))
    assert [row["label"] for row in table] == ["happy"] * 3
    document = json.loads(saved(page, "JSON"))
    assert document["image"] == "group.png"
    assert [face["label"] for face in document["faces"]] == ["happy"] * 3


def test_overlay_fades_with_its_slider(visit, astronaut):
    page = visit()
    choose(page, astronaut)
    expect_portrait_read(page)
    overlay = page.locator(".fer-map img").nth(1)
    expect(overlay).to_have_css("opacity", "1")
    page.get_by_role("slider", name="Overlay").fill("0.25")
    expect(overlay).to_have_css("opacity", "0.25")


def test_camera_is_read_live(visit):
    page = visit()
    tab(page, "Live")
    page.get_by_role("button", name="Start the camera").click()
    expect_portrait_read(page, "#live")
    live = page.locator("#live")
    expect(live.locator(".fer-top th")).to_have_text("happy")
    expect(
        live.get_by_text(re.compile(r"\d+ frames/s, \d+ ms \(\d+ ms in the server\)"))
    ).to_be_visible()
    page.wait_for_function(
        "document.querySelector('#live polyline').getAttribute('points').split(' ').length > 5"
    )
    happy = live.locator('polyline[data-label="happy"]').get_attribute("points")
    assert all(float(point.split(",")[1]) < 60 for point in happy.split()), "not near the top"
    expect(live.locator(".fer-tag")).to_have_text("1 happy")
    screenshot(page, "live")
    live.get_by_role("button", name="Stop").click()
    expect(live.locator(".fer-box")).to_have_count(0)
    expect(live.get_by_role("button", name="Start the camera")).to_be_visible()
    expect(live.get_by_role("alert")).to_have_count(0)
    expect_accessible(page)


def test_camera_that_is_not_allowed_is_explained(visit):
    page = visit(camera=False)
    page.evaluate(
        """() => {
            const refuse = () => Promise.reject(new Error("Permission denied"));
            navigator.mediaDevices.getUserMedia = refuse;
        }"""
    )
    tab(page, "Live")
    page.get_by_role("button", name="Start the camera").click()
    alert = page.locator("#live").get_by_role("alert")
    expect(alert).to_contain_text("The camera could not be opened")
    expect(alert).to_contain_text("Permission denied")


def test_video_is_followed_marked_and_saved(visit, clip):
    page = visit()
    tab(page, "Video")
    choose(page, clip, "a video")
    expect(page.get_by_text("0:02")).to_be_visible()
    page.get_by_role("button", name="Read the video").click()
    result = page.locator("#video-result")
    expect(result.get_by_role("img", name="Face 1, 2 seconds")).to_be_visible()
    expect(result.get_by_role("table").locator("tbody tr")).to_have_text(
        [re.compile("0:00.*1.*happy"), re.compile("0:01.*1.*happy")]
    )
    page.wait_for_function("document.querySelector('.fer-marked').readyState >= 2")
    assert page.locator(".fer-marked").evaluate("video => video.duration") == pytest.approx(
        2, abs=0.2
    )
    page.locator(".fer-marked").evaluate("video => video.play()")
    page.wait_for_function("document.querySelector('.fer-marked').webkitAudioDecodedByteCount > 0")
    rows = list(csv.DictReader(io.StringIO(saved(page, "CSV, every reading").decode())))
    assert {row["label"] for row in rows} == {"happy"}
    assert saved(page, "MP4")[4:8] == b"ftyp"
    expect_accessible(page)
    screenshot(page, "video")


def test_video_can_be_cancelled(visit, long_clip, uploads):
    kept = set(uploads.rglob("faces.mp4"))
    page = visit()
    tab(page, "Video")
    choose(page, long_clip, "a video")
    expect(page.get_by_text("0:20")).to_be_visible()
    page.get_by_role("button", name="Read the video").click()
    expect(page.get_by_text(re.compile(r"of 20 seconds read, about \d+ s left"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    page.wait_for_timeout(1500)
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    expect(page.locator(".fer-marked")).to_have_count(0)
    assert set(uploads.rglob("*faces*.mp4")) == kept


def test_video_that_is_none_is_explained(visit, tmp_path):
    broken = tmp_path / "holiday.mp4"
    broken.write_bytes(b"This is no video.")
    page = visit()
    tab(page, "Video")
    choose(page, broken, "a video")
    page.get_by_role("button", name="Read the video").click()
    alert = page.locator("#video-result").get_by_role("alert")
    expect(alert).to_contain_text("holiday.mp4: is not a video")
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def test_variants_are_compared_on_one_face(visit, astronaut):
    page = visit()
    tab(page, "Compare")
    choose(page, astronaut)
    table = page.locator("#compare-result").get_by_role("table")
    names = ["float32", "float16", "mixed_int8", "full_int8_float_io"]
    expect(table.locator("thead th")).to_have_text(["Expression", *names])
    expect(table.locator("tbody").get_by_role("rowheader")).to_have_text(LABELS)
    expect(table.locator("tbody tr").nth(3).locator("td.fer-top")).to_have_count(len(names))
    facts = table.locator("tfoot")
    expect(facts.get_by_role("rowheader")).to_have_text(
        ["size", "time, here", "largest difference from float32", "accuracy on PublicTest"]
    )
    assert facts.locator("tr").nth(0).locator("td").all_inner_texts() == [
        "16.1 MB", "8.1 MB", "5.0 MB", "4.9 MB"
    ]  # fmt: skip
    differences = facts.locator("tr").nth(2).locator("td").all_inner_texts()
    assert differences[0] == "0.0%"
    expect_accessible(page)
    screenshot(page, "compare")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_accessible(visit, group, theme):
    page = visit(theme=theme)
    expect_accessible(page)
    choose(page, group)
    expect(page.locator(".fer-box")).to_have_count(3)
    expect_accessible(page)
    tab(page, "About")
    expect(page.get_by_text("Article 5(1)(f)")).to_be_visible()
    expect_accessible(page)
    screenshot(page, f"about-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_phone_page_fits_its_screen_and_can_be_read(visit, group, theme):
    page = visit(PHONE, theme)
    choose(page, group)
    expect(page.locator(".fer-box")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in (".fer-header p", ".fer-verdict h2", ".fer-verdict p", ".fer-value", ".fer-chip"):
        assert contrast(page.locator(name).first) > 4.5, name
    assert contrast(page.get_by_text("What the network saw").first) > 4.5
    is_dark = page.evaluate("document.body.classList.contains('dark')")
    assert is_dark == (theme == "dark")
    screenshot(page, f"phone-{theme}")
    for name in ("Live", "Video", "Compare", "About"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        screenshot(page, f"phone-{theme}-{name.lower()}")


def test_about_tells_the_limits(visit):
    page = visit()
    expect(page.get_by_text("An expression is not a felt emotion")).to_be_hidden()
    tab(page, "About")
    expect(page.get_by_text("An expression is not a felt emotion")).to_be_visible()
    expect(page.get_by_text("Article 5(1)(f)")).to_be_visible()
    expect(page.get_by_text(re.compile(r"63\.\d%"))).to_be_visible()
    confusion = page.locator(".fer-confusion")
    expect(confusion.locator("tbody").get_by_role("rowheader")).to_have_text(LABELS)
    expect(confusion.locator("tbody td")).to_have_count(49)

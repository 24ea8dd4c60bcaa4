"""The page in Chromium, as a visitor uses it.

``FER_SCREENSHOTS=docs/images python -m pytest tests/test_browser.py -k readme`` makes
``docs/images/app.png``; without ``-k``, pictures of the page's other states as well.
"""

import base64
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from fer.labels import LABELS

CHROMIUM = "/usr/bin/chromium"
if not Path(CHROMIUM).exists() and "CI" not in os.environ:
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)
pytestmark = pytest.mark.slow
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
TIMEOUT = 120_000  # milliseconds, for a busy machine; nothing waits longer than it must


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """What Chromium's make-believe camera films: the portrait, as raw video."""
    with Image.open(Path(__file__).parents[1] / "examples" / "astronaut.png") as image:
        rgb = np.asarray(image.convert("RGB"))
    frame = b"FRAME\n" + cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes()
    path = tmp_path_factory.mktemp("camera") / "portrait.y4m"
    path.write_bytes(b"YUV4MPEG2 W512 H512 F10:1 Ip A1:1 C420jpeg\n" + 10 * frame)
    return path


@pytest.fixture(scope="module")
def browser(camera):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            timeout=TIMEOUT,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page; fails the test where the page errs or asks any other host for anything."""
    contexts = []
    errors = []
    hosts = set()

    def note(request):
        if urlsplit(request.url).scheme not in ("data", "blob"):
            hosts.add(urlsplit(request.url).hostname)

    def visit(viewport=DESKTOP, theme="light"):
        context = browser.new_context(
            viewport=viewport, permissions=["camera", "clipboard-read", "clipboard-write"]
        )
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


def choose(page, path):
    """Chooses a file as a visitor does, through the file chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Drop an image file here to upload").click()
    chooser.value.set_files(path)


def screenshot(page, name):
    folder = os.environ.get("FER_SCREENSHOTS")
    if folder:
        # Gradio fades a new result in.
        page.wait_for_function(
            "() => !document.querySelector('.pending') && !document.getAnimations().length"
        )
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def expect_portrait_read(page):
    expect(page.locator(".fer-box")).to_have_count(1)
    expect(page.get_by_role("table").get_by_role("rowheader")).to_have_text(LABELS)
    expect(page.get_by_role("table").locator(".fer-value")).to_have_text(7 * [re.compile(r"\d%$")])
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
    page.locator("#example img").click()
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


def test_about_tells_the_limits(visit):
    page = visit()
    expect(page.get_by_text("An expression is not a felt emotion")).to_be_hidden()
    page.get_by_role("button", name="About").click()
    expect(page.get_by_text("An expression is not a felt emotion")).to_be_visible()
    expect(page.get_by_text("Article 5(1)(f)")).to_be_visible()

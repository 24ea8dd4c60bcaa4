"""Chromium as the browser tests use it, with a make-believe camera."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
TIMEOUT = 60_000  # milliseconds, for a busy machine; nothing waits longer than it must
FADE = 600  # milliseconds in which Gradio fades a new result in


def write_film(path: Path, rate: int) -> Path:
    """Writes what the camera films: the portrait, as raw video of that many frames a second."""
    with Image.open(Path(__file__).parents[1] / "examples" / "astronaut.png") as image:
        rgb = np.asarray(image.convert("RGB"))
    frame = b"FRAME\n" + cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes()
    path.write_bytes(f"YUV4MPEG2 W512 H512 F{rate}:1 Ip A1:1 C420jpeg\n".encode() + 10 * frame)
    return path


def screenshot(page: Page, name: str) -> None:
    """Takes a picture of the whole page, if ``FER_SCREENSHOTS`` names a folder for it."""
    if folder := os.environ.get("FER_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(FADE)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@contextlib.contextmanager
def chromium(film: Path) -> Iterator[Browser]:
    """Runs a browser whose camera, always allowed, shows a film."""
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
                f"--use-file-for-fake-video-capture={film}",
            ],
        )
        yield browser
        browser.close()

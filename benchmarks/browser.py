"""Measures the on-device page in Chromium: ``python -m benchmarks.browser``.

Needs ``/usr/bin/chromium``, Playwright and npm. Writes ``benchmarks/results/browser.json``: the
classifier on one thread of WebAssembly beside the same file on LiteRT in Python, turn by turn, the
frames a second of the camera (Chromium's make-believe one, showing the portrait), and what the
first visit loads.
"""

import argparse
import functools
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from export.phone import page
from fer._files import write_json
from fer._machine import machine
from fer.image import load_image
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer
from fer.runtime import MODEL_FILE, TileClassifier
from fer.web.compare import VARIANTS

RESULT = Path(__file__).parent / "results" / "browser.json"
PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.png"
TURNS, RUNS, WARM_UP = 8, 50, 100
SECONDS = 20  # of filming

LOAD = """async () => {
    const { loadAndCompile } = await import("./litert/index.js");
    const { infer } = await import("./faces.js");
    const { loadRecognizer } = await import("./emotions.js");
    self.recognizer = await loadRecognizer();
    const size = recognizer.settings.tile_size;
    const tile = new Float32Array(size * size * 3).fill(128);
    self.classify = async (file, runs) => {
        self[file] ??= await loadAndCompile(file, { accelerator: "wasm" });
        const times = [];
        for (let run = 0; run < runs; run++) {
            const start = performance.now();
            await infer(self[file], tile, [1, size, size, 3]);
            times.push(performance.now() - start);
        }
        return times;
    };
}"""

READ = """async (camera) => {
    const bitmap = await createImageBitmap(await (await fetch("portrait.png")).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const times = [];
    for (let run = 0; run < 30; run++) {
        const start = performance.now();
        await recognizer.read(image, camera);
        times.push(performance.now() - start);
    }
    return times.slice(5);
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        self.server.sent += len(content)  # type: ignore[attr-defined]
        outputfile.write(content)


def measure(folder: Path) -> dict[str, Any]:
    """Measures everything, with the page written into an empty folder."""
    web = folder / "web"
    page.write(web, DEFAULT_BUNDLE)
    bundles = {"full_int8_float_io": DEFAULT_BUNDLE}
    bundles |= {path.name: path for path in sorted(VARIANTS.iterdir())}
    for name, bundle in bundles.items():
        (web / f"{name}.tflite").symlink_to(bundle / MODEL_FILE)
    (web / "portrait.png").symlink_to(PHOTO)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(web)))
    server.sent = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={_film(folder)}",
            ],
        )
        context = browser.new_context(permissions=["camera"])
        tab = context.new_page()
        start = time.perf_counter()
        tab.goto(address)
        tab.get_by_role("heading", name="Ready").wait_for()
        seconds, sent = time.perf_counter() - start, server.sent  # type: ignore[attr-defined]
        report = {
            "machine": machine(),
            "chromium": browser.version,
            "first_load": {"bytes": sent, "seconds": round(seconds, 2)},
            "camera_frames_per_second": _film_rates(tab),
        }
        tab.goto(address + "LICENSE.txt")
        tab.evaluate(LOAD)
        report["read_512_ms"] = {
            name: _percentiles(tab.evaluate(READ, camera))
            for name, camera in (("photo", False), ("camera", True))
        }
        report["classifier_ms"] = {
            name: _classifier(tab, name, bundle) for name, bundle in bundles.items()
        }
        browser.close()
    server.shutdown()
    server.server_close()
    photo = load_image(PHOTO)
    recognizer = EmotionRecognizer.from_bundle()
    report["read_512_ms"]["python"] = _percentiles(_times(lambda: recognizer.recognize(photo), 30))
    return report


def _classifier(tab: Page, name: str, bundle: Path) -> dict[str, Any]:
    """Takes turns, so that both meet the same neighbours on the machine."""
    classifier = TileClassifier(bundle / MODEL_FILE)
    size = classifier.tile_size
    tile = np.full((1, size, size, 3), 128, np.float32)
    times: dict[str, list[float]] = {"python": [], "browser": []}
    _times(lambda: classifier.predict(tile), WARM_UP)
    tab.evaluate("([file, runs]) => classify(file, runs)", [f"{name}.tflite", WARM_UP])
    for _ in range(TURNS):
        times["python"] += _times(lambda: classifier.predict(tile), RUNS)
        times["browser"] += tab.evaluate(
            "([file, runs]) => classify(file, runs)", [f"{name}.tflite", RUNS]
        )
    found = {where: _percentiles(values) for where, values in times.items()}
    return {
        **found,
        "browser_over_python": round(found["browser"]["p50"] / found["python"]["p50"], 2),
    }


def _times(task: Any, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        task()
        times.append(1000 * (time.perf_counter() - start))
    return times


def _percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{rank}": round(float(np.percentile(times, rank)), 2) for rank in (50, 95)}


def _film(folder: Path) -> Path:
    """Writes what the camera films: the portrait, 640 x 480."""
    rgb = cv2.copyMakeBorder(load_image(PHOTO)[:480], 0, 0, 64, 64, cv2.BORDER_REPLICATE)
    frame = b"FRAME\n" + cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes()
    path = folder / "portrait.y4m"
    path.write_bytes(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n" + 10 * frame)
    return path


def _film_rates(tab: Page) -> dict[str, float]:
    tab.get_by_role("button", name="Start the camera").click()
    tab.wait_for_timeout(3000)
    rates = []
    for _ in range(SECONDS):
        tab.wait_for_timeout(1000)
        rates.append(int(tab.locator("#figures").inner_text().split()[0]))
    return {"p50": float(np.median(rates)), "least": float(min(rates))}


def main() -> None:
    """Measures, and writes the figures."""
    argparse.ArgumentParser(prog="python -m benchmarks.browser", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder))
    write_json(RESULT, report)
    print(RESULT.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()

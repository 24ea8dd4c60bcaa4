"""How long a photo takes, and how many frames a second: ``python -m benchmarks.recognizer``.

Prints a table and writes the same figures to ``benchmarks/recognizer.json``.
"""

import argparse
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer._machine import machine
from fer._pool import cores
from fer.faces import square_crop
from fer.image import load_image
from fer.labels import LABELS
from fer.occlusion import importance
from fer.overlay import encode_jpeg, fit_photo, grey_tile, importance_tile
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer, FaceEmotion, make_detector
from fer.runtime import TileClassifier
from fer.spec import ModelSpec
from fer.tile import make_tile

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.png"
REPORT = Path(__file__).with_suffix(".json")

_PAGE = 1280  # pixels: longest side of the photo on the page
_TILE = 288  # pixels: side of a tile on the page
_EXPLAINED = 3  # faces


def measure(call: Callable[[], object], runs: int) -> dict[str, float]:
    """Times a call after one warm-up, in milliseconds."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def rate(call: Callable[[], object], threads: int, calls: int) -> float:
    """Returns how often a second ``threads`` threads together do a call, over ``calls`` calls."""
    call()

    def work() -> None:
        for _ in range(calls // threads):
            call()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return round(calls // threads * threads / (time.perf_counter() - start), 1)


def photos() -> dict[str, NDArray[np.uint8]]:
    """Returns the example as it is, as a webcam's frame, and as a phone's photo."""
    astronaut = load_image(PHOTO)
    upper = astronaut[:384]
    frame = cv2.resize(upper, (640, 480), interpolation=cv2.INTER_LINEAR)
    phone = cv2.resize(upper, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    # Without a sensor's grain, the file is a fraction of a phone's and decoded sooner.
    grain = np.random.default_rng(0).normal(0, 6, phone.shape).astype(np.float32)
    return {
        "512 x 512": astronaut,
        "640 x 480": np.asarray(frame, np.uint8),
        "4000 x 3000": np.rint(phone + grain).clip(0, 255).astype(np.uint8),
    }


def draw(photo: NDArray[np.uint8], faces: list[FaceEmotion]) -> None:
    """Makes the pictures of the demo page."""
    encode_jpeg(fit_photo(photo, _PAGE))
    for face in faces:
        encode_jpeg(grey_tile(face.tile, _TILE))
        if face.importance is not None:
            encode_jpeg(importance_tile(face.tile, face.importance, _TILE))


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(
        description="Time from photo to result, on one thread per inference."
    )
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each (default: 50)")
    parser.add_argument("--output", type=Path, default=REPORT, help=f"default: {REPORT.name}")
    parser.add_argument(
        "--json", action="store_true", help="print what is written, in place of the table"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    spec = ModelSpec.load(DEFAULT_BUNDLE)
    recognizer = EmotionRecognizer.from_bundle()
    detector = make_detector()
    classifier = TileClassifier.from_bundle(DEFAULT_BUNDLE, spec)
    report: dict[str, Any] = {
        "machine": machine(),
        "threads": 1,
        "inferences_at_once": cores(),  # of an explanation, and of several visitors
        "runs": options.runs,
        "model": {"name": spec.name, "variant": spec.variant, "tile_size": spec.tile_size},
        "photos": {},
        "bytes": {},
    }

    def page(jpeg: bytes) -> None:
        photo = load_image(jpeg)
        draw(photo, recognizer.recognize(photo, explained=_EXPLAINED))

    for name, photo in photos().items():
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, "JPEG", quality=90)
        jpeg = buffer.getvalue()
        report["bytes"][name] = len(jpeg)
        square = square_crop(photo, detector.detect(photo)[0], spec.crop)
        tile = make_tile(square, spec.tile_size)
        faces = recognizer.recognize(photo, explained=_EXPLAINED)
        column = LABELS.index(faces[0].label)

        def explain(tile: NDArray[np.float32] = tile, column: int = column) -> None:
            importance(lambda tiles: classifier.predict(tiles).probabilities[:, column], tile)

        stages: dict[str, Callable[[], object]] = {
            "JPEG file to page": lambda jpeg=jpeg: page(jpeg),
            "JPEG file to result": lambda jpeg=jpeg: recognizer.recognize(jpeg),
            "decoded photo to result": lambda photo=photo: recognizer.recognize(photo),
            "decoding": lambda jpeg=jpeg: load_image(jpeg),
            "face detection": lambda photo=photo: detector.detect(photo),
            "tile": lambda square=square: make_tile(square, spec.tile_size),
            "classification": lambda tile=tile: classifier.predict(tile[None]),
            "explanation": explain,
            "drawing": lambda photo=photo, faces=faces: draw(photo, faces),
        }
        report["photos"][name] = {
            stage: measure(call, options.runs) for stage, call in stages.items()
        }
        if name == "640 x 480":
            report["frames_per_second"] = {
                str(visitors): rate(stages["JPEG file to result"], visitors, 4 * options.runs)
                for visitors in (1, 2, 4)
            }
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2) if options.json else table(report))


def table(report: dict[str, Any]) -> str:
    """Returns a report as lines of text."""
    lines = [
        f"{name:12} {stage:24} {times['p50_ms']:8.1f} ms  p95 {times['p95_ms']:8.1f} ms"
        for name, stages in report["photos"].items()
        for stage, times in stages.items()
    ]
    lines += [
        f"640 x 480    {visitors} visitors at once      {frames:8.1f} frames/s"
        for visitors, frames in report["frames_per_second"].items()
    ]
    lines.append(
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores, one thread per inference"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""How long a photo takes, on one thread: ``python -m benchmarks.recognizer``.

Prints a table and writes the same figures to ``benchmarks/recognizer.json``.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer._machine import machine
from fer.faces import square_crop
from fer.image import load_image
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer, make_detector
from fer.runtime import TileClassifier
from fer.spec import ModelSpec
from fer.tile import make_tile

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.png"
REPORT = Path(__file__).with_suffix(".json")


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


def photos() -> dict[str, NDArray[np.uint8]]:
    """Returns the example as it is, and on the canvas of a 12-megapixel phone photo."""
    astronaut = load_image(PHOTO)
    phone = np.full((3000, 4000, 3), 128, np.uint8)
    phone[400:2448, 900:2948] = cv2.resize(astronaut, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    return {"512 x 512": astronaut, "4000 x 3000": phone}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description="Time from photo to result, on one thread.")
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each (default: 50)")
    parser.add_argument("--output", type=Path, default=REPORT, help=f"default: {REPORT.name}")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    spec = ModelSpec.load(DEFAULT_BUNDLE)
    recognizer = EmotionRecognizer.from_bundle()
    detector = make_detector()
    classifier = TileClassifier.from_bundle(DEFAULT_BUNDLE, spec)
    report: dict[str, Any] = {
        "machine": machine(),
        "threads": 1,
        "runs": options.runs,
        "model": {"name": spec.name, "variant": spec.variant, "tile_size": spec.tile_size},
        "photos": {},
    }
    for name, photo in photos().items():
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, "JPEG", quality=90)
        jpeg = buffer.getvalue()
        square = square_crop(photo, detector.detect(photo)[0], spec.crop)
        tile = make_tile(square, spec.tile_size)[None]
        stages: dict[str, Callable[[], object]] = {
            "JPEG file to result": lambda jpeg=jpeg: recognizer.recognize(jpeg),
            "decoded photo to result": lambda photo=photo: recognizer.recognize(photo),
            "decoding": lambda jpeg=jpeg: load_image(jpeg),
            "face detection": lambda photo=photo: detector.detect(photo),
            "tile": lambda square=square: make_tile(square, spec.tile_size),
            "classification": lambda tile=tile: classifier.predict(tile),
        }
        report["photos"][name] = {
            stage: measure(call, options.runs) for stage, call in stages.items()
        }
        for stage, times in report["photos"][name].items():
            print(f"{name:12} {stage:24} {times['p50_ms']:8.1f} ms  p95 {times['p95_ms']:8.1f} ms")
    print(f"{report['machine']['cpu']}, {report['machine']['cores']} cores, one thread used")
    options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

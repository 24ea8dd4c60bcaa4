"""Puts the measured figures into the README: ``python -m benchmarks.readme``.

No figure there is typed by hand: each comes from a JSON file that a command of this project wrote.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
START, END = "<!-- results: python -m benchmarks.readme -->", "<!-- end of results -->"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _percent(accuracy: dict[str, float]) -> str:
    value, low, high = (100 * accuracy[key] for key in ("value", "low", "high"))
    return f"{value:.2f}% | {low:.2f} to {high:.2f} | {accuracy['n']}"


def render() -> str:
    """Returns the README's results section."""
    tiles = {view: _read(RESULTS / f"public-{view}.json") for view in ("fer2013", "blend")}
    photos = _read(RESULTS / "photos-blend.json")
    spec = _read(ROOT / "fer" / "assets" / "model" / "spec.json")["calibration"]
    training = _read(ROOT / "benchmarks" / "training.json")
    recognizer = _read(ROOT / "benchmarks" / "recognizer.json")
    rows = [
        ("PublicTest, view `fer2013`", tiles["fer2013"]["accuracy"]),
        (
            "the same, without its duplicates of Training",
            tiles["fer2013"]["accuracy_without_duplicates"],
        ),
        ("the same, averaged with the mirrored image", tiles["fer2013"]["accuracy_flip_averaged"]),
        ("PublicTest, view `blend` (the app's)", tiles["blend"]["accuracy"]),
        (
            "real photos, whole pipeline, view `blend`",
            photos["accuracy"],
        ),
    ]
    recalls = ", ".join(f"{label} {value:.2f}" for label, value in photos["recall"].items())
    lines = [
        "| measured on | accuracy | 95% interval | images |",
        "|---|---|---|---|",
        *(f"| {name} | {_percent(accuracy)} |" for name, accuracy in rows),
        "",
        f"Real photos: a face was found in {photos['faces_found']} of {photos['photos']}; mean "
        f"recall over their five classes **{photos['mean_recall']:.2f}** ({recalls}). Calibration "
        f"error of the app's probabilities: {spec['ece_before']:.3f} before, "
        f"**{spec['ece_after']:.3f}** after temperature scaling.",
        "",
        f"Speed on {recognizer['machine']['cpu']}, one thread: {_speed(recognizer)}. Training: "
        f"{training['images_per_second']['pipeline']:.0f} images/s on "
        f"{training['machine']['cores']} cores at {training['tile_size']} px, "
        f"{training['pipeline_over_bare']:.2f} of the same network on images that lie ready "
        "(from the end of the first step on: starting a pass costs more, see docs/training.md).",
    ]
    return "\n".join(lines)


def _speed(report: dict[str, Any]) -> str:
    times = report["photos"]["512 x 512"]
    whole = times["JPEG file to result"]
    parts = ", ".join(
        f"{stage} {times[stage]['p50_ms']:.1f}"
        for stage in ("decoding", "face detection", "classification")
    )
    return (
        f"a 512 x 512 JPEG with one face takes {whole['p50_ms']:.1f} ms "
        f"(p95 {whole['p95_ms']:.1f}): {parts}"
    )


def filled(text: str) -> str:
    """Returns the README's text with the results section made anew."""
    before, rest = text.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{render()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")

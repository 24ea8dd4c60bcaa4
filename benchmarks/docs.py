"""Puts the measured figures into the documents: ``python -m benchmarks.docs``.

No figure in a section there is typed by hand: each comes from a file that a command of this project
wrote (``run-*.json`` are the ``metrics.json`` of the shipped model's runs).
A section of a document is what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "training.md",
    ROOT / "docs" / "export.md",
    ROOT / "docs" / "phone.md",
)

MOST_DROP = 0.2
"""Percentage points of accuracy that the app's variant may lose."""


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _percent(accuracy: dict[str, float]) -> str:
    value, low, high = (100 * accuracy[key] for key in ("value", "low", "high"))
    return f"{value:.2f}% | {low:.2f} to {high:.2f} | {accuracy['n']}"


def _results() -> str:
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
        f"Speed on {recognizer['machine']['cpu']}, one thread per inference: "
        f"{_speed(recognizer)}. Training: "
        f"{training['images_per_second']['pipeline']:.0f} images/s on "
        f"{training['machine']['cores']} cores at {training['tile_size']} px, "
        f"{training['bare_over_plain']:.2f} times as fast as with Keras's own layers.",
    ]
    return "\n".join(lines)


def _speed(report: dict[str, Any]) -> str:
    photo, phone = (report["photos"][name] for name in ("512 x 512", "4000 x 3000"))
    frames = report["frames_per_second"]
    return (
        f"a 512 x 512 JPEG with one face takes {_time(photo, 'JPEG file to result')}: "
        f"{_split(photo, 'decoding', 'face detection', 'classification')}; a 12-megapixel JPEG of "
        f"{report['bytes']['4000 x 3000'] / 1e6:.1f} MB, explained and drawn as on the page, "
        f"{_time(phone, 'JPEG file to page')}: "
        f"{_split(phone, 'decoding', 'face detection', 'classification', 'explanation', 'drawing')}"
        f". Of 640 x 480 JPEG frames, {frames['1']:.0f} a second are read for one visitor and "
        f"{frames['4']:.0f} for four at once on {report['inferences_at_once']} cores"
    )


def _time(stages: dict[str, dict[str, float]], stage: str) -> str:
    return f"{stages[stage]['p50_ms']:.1f} ms (p95 {stages[stage]['p95_ms']:.1f})"


def _split(stages: dict[str, dict[str, float]], *names: str) -> str:
    return ", ".join(f"{name} {stages[name]['p50_ms']:.1f}" for name in names)


def _history(run: str) -> str:
    rows = _read(RESULTS / f"run-{run}.json")["epochs"]
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)])


def _calibration() -> str:
    lines = [
        "| view | temperature | ECE before | after | of perfect scores | uncertain below | share "
        "| right of these | of the others |",
        "|---" * 9 + "|",
    ]
    for view in ("fer2013", "blend"):
        report = _read(RESULTS / f"calibration-{view}.json")
        fitted = report["calibration"]
        lines.append(
            f"| `{view}` | {fitted['temperature']:.2f} | {fitted['ece_before']:.3f} "
            f"| {fitted['ece_after']:.3f} | {report['chance']:.3f} "
            f"| {fitted['uncertain_below']:.2f} | {report['uncertain_share']:.0%} "
            f"| {report['accuracy_uncertain']:.0%} | {report['accuracy_certain']:.0%} |"
        )
    return "\n".join(lines)


def _robustness() -> str:
    report = _read(RESULTS / "robustness.json")
    severities = range(1, 6)
    clean = report["clean"]
    lines = [
        f"Without changes {100 * clean['value']:.1f}%, mean of everything below "
        f"{100 * report['mean']:.1f}% ({clean['n']} images; 95% intervals are about "
        f"{50 * (clean['high'] - clean['low']):.1f} points either way).",
        "",
        f"| condition | {' | '.join(map(str, severities))} |",
        "|---" * 6 + "|",
    ]
    for name, row in report["conditions"].items():
        cells = " | ".join(f"{100 * cell['value']:.1f}" for cell in row)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def _table(name: str) -> str:
    """Returns a table that a command wrote as Markdown."""
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8").strip()


def _probe() -> str:
    lines = [
        "| extractor | tile | training accuracy | PublicTest accuracy (95% interval) |",
        "|---|---|---|---|",
    ]
    for path in sorted(RESULTS.glob("probe-*.json")):
        report = _read(path)
        seen, unseen = report["training_accuracy"], report["public_test_accuracy"]
        name = path.stem.removeprefix("probe-").replace("-", " ")
        lines.append(
            f"| {name} | {report['tile_size']} | {seen['value']:.1%} | {unseen['value']:.1%} "
            f"({100 * unseen['low']:.1f} to {100 * unseen['high']:.1f}) |"
        )
    return "\n".join(lines)


def _blend() -> str:
    lines = ["| share of FER+ | mean recall | neutral | PublicTest |", "|---|---|---|---|"]
    for row in _read(RESULTS / "blend.json"):
        view = f" (view `{row['view']}`)" if row["view"] else ""
        lines.append(
            f"| {row['share']:g}{view} | {row['mean_recall']:.3f} "
            f"| {row['recall']['neutral']:.2f} | {row['public_test']['value']:.1%} |"
        )
    return "\n".join(lines)


def _parity() -> str:
    lines = [
        "| variant | MB | largest difference | mean | same label | accuracy | drop | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in _read(RESULTS / "export.json"):
        if "fault" in row:
            lines.append(f"| {row['variant']} | not written: {row['fault']} | | | | | | |")
            continue
        parity = row["parity"]
        name = row["variant"] + ("" if row["published"] else " (a reference, not written)")
        lines.append(
            f"| {name} | {parity['bytes'] / 1e6:.2f} | {parity['max_difference']:.2g} "
            f"| {parity['mean_difference']:.2g} | {parity['agreement']:.1%} "
            f"| {parity['accuracy']['value']:.2%} | {parity['drop']:+.2f} "
            f"| {parity['calibration_error']:.3f} |"
        )
    return "\n".join(lines)


def _app_variant() -> str:
    name = _read(ROOT / "fer" / "assets" / "model" / "manifest.json")["variant"]["name"]
    parities = {row["variant"]: row["parity"] for row in _read(RESULTS / "export.json")
                if "parity" in row}  # fmt: skip
    times = {
        variant: row["latency_ms"]["1"]["p50"]
        for variant, row in _read(RESULTS / "variants.json")["variants"].items()
    }
    parity = parities[name]
    able = [variant for variant in times if parities[variant]["drop"] <= MOST_DROP]
    fastest = min(able, key=lambda variant: times[variant])
    rank = "the fastest" if name == fastest else f"`{fastest}` takes {times[fastest]:.2f}"
    return (
        f"The app ships `{name}`: {parity['bytes'] / 1e6:.1f} MB, {times[name]:.2f} ms on one "
        f"thread, {times['float32'] / times[name]:.1f} times as fast as float32 ({rank} of those "
        f"that lose at most {MOST_DROP:g} points), accuracy {-parity['drop']:+.2f} points, "
        f"calibration error {parity['calibration_error']:.3f}."
    )


def _phone() -> str:
    report = _read(RESULTS / "browser.json")
    load, rates, read = (
        report[key] for key in ("first_load", "camera_frames_per_second", "read_512_ms")
    )
    lines = [
        f"On {report['machine']['cpu']} ({report['machine']['cores']} cores, shared), Chromium "
        f"{report['chromium'].split('.')[0]}: first visit {load['bytes'] / 1e6:.2f} MB; camera at "
        f"640 x 480 {rates['p50']:.0f} frames/s (at least {rates['least']:.0f}); the portrait of "
        f"512 x 512 is read in {read['photo']['p50']:.0f} ms ({read['python']['p50']:.0f} in "
        "Python).",
        "",
        "| classifier, 1 thread | browser, ms (p95) | Python, ms (p95) | browser / Python |",
        "|---|---|---|---|",
    ]
    for name, row in report["classifier_ms"].items():
        times = " | ".join(
            f"{row[where]['p50']:.1f} ({row[where]['p95']:.1f})" for where in ("browser", "python")
        )
        lines.append(f"| {name} | {times} | {row['browser_over_python']:.1f} |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[], str]] = {
    "results": _results,
    "history_cpu": partial(_history, "cpu"),
    "history_paper": partial(_history, "paper"),
    "history_refine": partial(_history, "refine"),
    "history_finish": partial(_history, "finish"),
    "blend": _blend,
    "ablation": partial(_table, "ablation"),
    "comparison": partial(_table, "compare"),
    "probe": _probe,
    "parity": _parity,
    "variants": partial(_table, "variants"),
    "app_variant": _app_variant,
    "calibration": _calibration,
    "robustness": _robustness,
    "phone": _phone,
}


def filled(text: str) -> str:
    """Returns a document's text with its sections made anew."""

    def section(match: re.Match[str]) -> str:
        return f"{match[1]}\n{SECTIONS[match[2]]()}\n{match[3]}"

    pattern = r"(<!-- begin (\w+) -->).*?(<!-- end \2 -->)"
    return re.sub(pattern, section, text, flags=re.DOTALL)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")

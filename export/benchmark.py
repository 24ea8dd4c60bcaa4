"""Size, speed and accuracy of exported variants: ``python -m export.benchmark DIR``."""

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from fer._stderr import silent_stderr

with silent_stderr():
    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray
    from tqdm import tqdm

    from export import bundle
    from export.recipes import VARIANTS
    from fer._files import replacing, write_json
    from fer._machine import machine
    from fer.displays import VariantsDisplay
    from fer.runtime import MODEL_FILE
    from train.command import new_parser, run

EPILOG = """examples:
  python -m export.benchmark exported
  python -m export.benchmark exported --runs 500 --json > benchmark.json
"""

LEAST_RUNS = 200
THREADS = (1, 2)

_WARM_UP = 20
_TURN = 10
_PEAK_SIDE, _PEAK_CHANNELS, _PEAK_LAYERS, _PEAK_RUNS = 32, 512, 6, 20


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "export.benchmark",
        "Measure every bundle of a folder: size, latency at one and two threads (the variants take "
        "turns, so that drift hits all alike), memory; write benchmark.json, .md and .png there, "
        "and the figures into each manifest.",
        EPILOG,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="what python -m export wrote")
    parser.add_argument(
        "--runs", type=int, default=LEAST_RUNS, help="inferences per variant (default: 200)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    if options.runs < LEAST_RUNS:
        raise ValueError(f"runs must be at least {LEAST_RUNS}, received {options.runs}")
    bundles = [path.parent for path in options.folder.glob(f"*/{bundle.MANIFEST_FILE}")]
    if not bundles:
        raise ValueError(f"DIR must hold bundles of python -m export, received {options.folder}")
    report = measure(options.folder, bundles, options.runs)
    print(json.dumps(report, indent=2) if options.json else table(report))


def measure(folder: Path, bundles: list[Path], runs: int = LEAST_RUNS) -> dict[str, Any]:
    """Measures bundles of one model and writes what was found into a folder and each manifest.

    Args:
        folder: Folder for the report.
        bundles: Folders of the bundles, named after their variants.
        runs: Inferences of each file at each number of threads.

    Raises:
        ValueError: If a manifest is not whole, or they are of different checkpoints.
    """
    order = list(VARIANTS)
    bundles = sorted(
        bundles, key=lambda path: order.index(path.name) if path.name in order else len(order)
    )
    manifests = {path: _manifest(path) for path in bundles}
    if len({manifest.get("checkpoint_sha256") for manifest in manifests.values()}) > 1:
        raise ValueError(
            f"DIR must hold bundles of one checkpoint, {folder} has some of others: "
            "export them again with --overwrite"
        )
    files = {path.name: path / MODEL_FILE for path in bundles}
    times = {threads: latencies(files, threads, runs) for threads in THREADS}
    peaks = {kind: peak(kind) for kind in ("float32", "int8")}
    sums = multiply_adds(next(iter(files.values())))
    rows = {}
    for path in bundles:
        manifest = manifests[path]
        content = files[path.name].read_bytes()
        row = {
            "bytes": len(content),
            "gzip_bytes": len(gzip.compress(content, mtime=0)),
            "latency_ms": {
                str(threads): {
                    "p50": float(np.percentile(times[threads][path.name], 50)),
                    "p95": float(np.percentile(times[threads][path.name], 95)),
                }
                for threads in THREADS
            },
            "litert_benchmark_ms": _cross_check(files[path.name]),
            "peak_memory_bytes": _memory(files[path.name]),
            "accuracy": manifest["parity"]["accuracy"],
            "drop": manifest["parity"]["drop"],
        }
        measured = {**row, "runs": runs, "machine": machine()}
        write_json(path / bundle.MANIFEST_FILE, {**manifest, "benchmark": measured})
        rows[path.name] = row
    report = {
        "machine": machine(),
        "runs": runs,
        "multiply_adds": sums,
        "peak_multiply_adds_per_s": peaks,
        "roofline_ms": {kind: 1000 * sums / rate for kind, rate in peaks.items()},
        "variants": rows,
    }
    write_json(folder / "benchmark.json", report)
    with replacing(folder / "benchmark.md") as temporary:
        temporary.write_text(table(report) + "\n", encoding="utf-8")
    VariantsDisplay(
        list(rows),
        [row["bytes"] / 1e6 for row in rows.values()],
        [row["latency_ms"]["1"]["p50"] for row in rows.values()],
        [row["accuracy"]["value"] for row in rows.values()],
    ).save(folder / "benchmark.png")
    return report


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / bundle.MANIFEST_FILE).read_text(encoding="utf-8"))
        manifest["parity"]["accuracy"]["value"], manifest["parity"]["drop"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no whole bundle ({error}); export it again") from error
    return dict(manifest)


def latencies(files: dict[str, Path], threads: int, runs: int) -> dict[str, NDArray[np.float64]]:
    """Times files in turns of a few inferences, so that drift hits all alike.

    Args:
        files: Name to ``.tflite``.
        threads: CPU threads of one inference.
        runs: Timed inferences of each, after a warm-up.

    Returns:
        Name to milliseconds, shape (runs,).
    """
    runners = {}
    for name, file in files.items():
        interpreter = Interpreter(model_path=str(file), num_threads=threads)
        runner = interpreter.get_signature_runner("serving_default")
        image = runner.get_input_details()["image"]
        values = np.random.default_rng(0).integers(0, 256, image["shape"])
        runners[name] = (runner, values.astype(image["dtype"]))
    times: dict[str, list[float]] = {name: [] for name in files}
    with tqdm(
        total=runs * len(files), unit="run", desc=f"{threads} thread(s)", leave=False, disable=None
    ) as bar:
        for start in range(-_WARM_UP, runs, _TURN):
            for name, (runner, values) in runners.items():
                runner(image=values)  # finds the others' data in the caches
                for index in range(start, min(start + _TURN, runs)):
                    began = time.perf_counter()
                    runner(image=values)
                    if index >= 0:
                        times[name].append(1000 * (time.perf_counter() - began))
                        bar.update()
    return {name: np.array(values) for name, values in times.items()}


def _cross_check(file: Path) -> float | None:
    """Returns the median milliseconds of LiteRT's own benchmark, one thread; None without it."""
    tool = shutil.which("litert-benchmark") or str(Path(sys.executable).parent / "litert-benchmark")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        try:
            subprocess.run(
                [tool, "--model", file, "--num_runs", str(LEAST_RUNS), "--num_threads", "1",
                 "--result_json", out],
                check=True,
                capture_output=True,
                timeout=120,
            )  # fmt: skip
            return float(json.loads(out.read_text(encoding="utf-8"))["latency"]["median_ms"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError):
            return None


_MEMORY = """
import sys
from pathlib import Path
from ai_edge_litert.interpreter import Interpreter
import numpy as np
def memory(kind):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split(kind + ":")[1].split()[0])
Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of importing
before = memory("VmRSS")
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
run = interpreter.get_signature_runner("serving_default")
image = run.get_input_details()["image"]
for _ in range(3):
    run(image=np.zeros(image["shape"], image["dtype"]))
print(memory("VmHWM") - before)
"""


def _memory(file: Path) -> int | None:
    """Returns the memory that a process needs more at its peak by loading and running a file."""
    if not Path("/proc/self/status").exists():
        return None
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(file)], capture_output=True, text=True, check=False
    )
    return None if done.returncode else int(done.stdout.split()[-1])


def multiply_adds(file: Path) -> int:
    """Counts the multiply-adds of a file's convolutions."""
    interpreter = Interpreter(model_path=str(file))
    tensors = {tensor["index"]: tensor["shape"] for tensor in interpreter.get_tensor_details()}
    total = 0
    for operator in interpreter._get_ops_details():  # there is no public listing
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            _, kernel, *_ = operator["inputs"]
            _, height, width, channels = tensors[operator["outputs"][0]]
            rows, columns, inner = tensors[kernel][1:]
            each = rows * columns * (inner if operator["op_name"] == "CONV_2D" else 1)
            total += int(height * width * channels * each)
    return total


def peak(kind: str) -> float:
    """Measures the multiply-adds per second of large 1 x 1 convolutions, one thread.

    Args:
        kind: ``float32`` or ``int8``.
    """
    import keras

    from fer.nn.convert import convert

    keras.utils.set_random_seed(0)
    shape = (_PEAK_SIDE, _PEAK_SIDE, _PEAK_CHANNELS)
    image = keras.Input(shape, name="image")
    hidden = image
    for _ in range(_PEAK_LAYERS):  # several, so that the ends' conversions weigh little
        hidden = keras.layers.Conv2D(_PEAK_CHANNELS, 1)(hidden)
    model = keras.Model(image, {"out": hidden})
    samples = np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype(np.float32)
    content = convert(model, representative=samples if kind == "int8" else None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peak.tflite"
        file.write_bytes(content)
        fastest = latencies({"peak": file}, 1, _PEAK_RUNS)["peak"].min()
        return 1000 * multiply_adds(file) / fastest


def table(report: dict[str, Any]) -> str:
    """Returns the report as a Markdown table with the roofline below it."""
    lines = [
        "| variant | MB | gzip | p50 / p95, 1 thread | 2 threads | litert-benchmark | memory MB "
        "| accuracy | drop |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["variants"].items():
        one, two = (row["latency_ms"][str(threads)] for threads in THREADS)
        memory, check = row["peak_memory_bytes"], row["litert_benchmark_ms"]
        lines.append(
            f"| {name} | {row['bytes'] / 1e6:.2f} | {row['gzip_bytes'] / 1e6:.2f} "
            f"| {one['p50']:.2f} / {one['p95']:.2f} ms | {two['p50']:.2f} / {two['p95']:.2f} ms "
            f"| {'-' if check is None else f'{check:.2f} ms'} "
            f"| {'-' if memory is None else f'{memory / 1e6:.0f}'} "
            f"| {row['accuracy']['value']:.2%} | {row['drop']:+.2f} |"
        )
    rooflines = ", ".join(
        f"{time:.2f} ms at {report['peak_multiply_adds_per_s'][kind] / 1e9:.0f} G/s {kind}"
        for kind, time in report["roofline_ms"].items()
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Roofline: {report['multiply_adds'] / 1e6:.0f} million multiply-adds, {rooflines} "
            f"(one thread, as measured on {report['machine']['cpu']}).",
        ]
    )


if __name__ == "__main__":
    run(_main)

"""Small bundles to publish, whole as those of ``python -m export``."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fer.recognizer import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
CHECKPOINT = b"PK\0\0 stands for a network to retrain\n"
DEFAULT, OTHER = "full_int8_float_io", "float32"


def make_bundle(folder: Path, variant: str = DEFAULT, **spec: Any) -> Path:
    """Writes the shipped model as a bundle of one golden tile, with fields of its spec changed."""
    (folder / "golden").mkdir(parents=True)
    for name in ("model.tflite", "labels.txt", "MODEL_CARD.md", "LICENSE", "golden/face.png"):
        shutil.copy(DEFAULT_BUNDLE / name, folder / name)
    golden = json.loads((DEFAULT_BUNDLE / "golden" / "golden.json").read_text())
    golden["probabilities"] = {"face": golden["probabilities"]["face"]}
    (folder / "golden" / "golden.json").write_text(json.dumps(golden))
    text = json.loads((DEFAULT_BUNDLE / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**text, "variant": variant, **spec}))
    (folder / "model.keras").write_bytes(CHECKPOINT)
    manifest = json.loads((DEFAULT_BUNDLE / "manifest.json").read_text())
    manifest["variant"]["name"] = variant
    manifest["checkpoint_sha256"] = hashlib.sha256(CHECKPOINT).hexdigest()
    sign(folder, manifest)
    return folder


def sign(folder: Path, manifest: dict[str, Any] | None = None) -> None:
    """Writes the manifest for the files that are there."""
    path = folder / "manifest.json"
    manifest = manifest or json.loads(path.read_text())
    path.unlink(missing_ok=True)
    manifest["files"] = {
        file.relative_to(folder).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    path.write_text(json.dumps(manifest))


def make_export(folder: Path) -> Path:
    """Writes a folder of two bundles and a plot."""
    make_bundle(folder / OTHER, OTHER)
    make_bundle(folder / DEFAULT, DEFAULT)
    shutil.copy(DEFAULT_BUNDLE / "golden" / "rings.png", folder / "benchmark.png")
    return folder


def start(environment: dict[str, str], module: str, *arguments: object) -> "subprocess.Popen[str]":
    """Starts ``python -m module``."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Waits for it; returns its exit code, output and errors."""
    with process:
        try:
            out, errors = process.communicate(timeout=120)
        finally:
            process.kill()  # nothing to do where it has ended
    return process.returncode, out, errors


def command(environment: dict[str, str], module: str, *arguments: object) -> tuple[int, str, str]:
    """Runs ``python -m module``; returns its exit code, output and errors."""
    return finish(start(environment, module, *arguments))

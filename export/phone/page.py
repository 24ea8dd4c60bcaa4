"""The on-device page as a folder for any static host."""

import gzip
import json
import re
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.phone.packages import installed
from fer.faces import ANCHORS, BLAZEFACE_FILE, NATIVE, STRIDE, BlazeFaceConfig, Look
from fer.labels import LABELS
from fer.occlusion import patches
from fer.overlay import AGAINST, COLOURS, FOR
from fer.runtime import MODEL_FILE, TileClassifier
from fer.spec import ModelSpec
from fer.web.charts import bars_html

SOURCE = Path(__file__).parent / "web"
SETTINGS_FILE = "settings.json"
DETECTOR_FILE = "face_detector.tflite"
PACKED = ".packed"
"""Suffix of what is compressed with gzip: the page unpacks it, so any host will do."""

QUICK_LOOKS = (Look(pixels=320 * 240, enlarge=False), BlazeFaceConfig().looks[1])
"""Looks at a camera's frame: two fifths of the work of `BlazeFaceConfig`'s, for faces at least a
tenth as wide as the frame."""

_ROOT = Path(__file__).parents[2]
_OWN = ("index.html", "style.css", "manifest.json", "icon.png", "sw.js")
_VARIANTS = ("litert_wasm_internal", "litert_wasm_compat_internal")
"""The single-thread builds of LiteRT.js, with relaxed SIMD and without: threads would need headers
that many static hosts cannot send."""


def write(folder: Path, bundle: Path) -> None:
    """Writes the page into a folder, which is made here.

    Args:
        folder: Folder to fill; it must not exist.
        bundle: The model's bundle.

    Raises:
        ValueError: If the bundle cannot be used, or npm's packages are not to be had.
    """
    spec = ModelSpec.load(bundle)
    TileClassifier.from_bundle(bundle, spec)  # refuses a file that is not the spec's
    packages = installed() / "@litertjs"
    folder.mkdir(parents=True)
    for source in (*(SOURCE / name for name in _OWN), *SOURCE.glob("*.js")):
        shutil.copyfile(source, folder / source.name)
    _fill(folder / "index.html")
    shutil.copyfile(_ROOT / "fer" / "web" / "style.css", folder / "fer.css")
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(_ROOT / name, folder / f"{name}.txt")
    card = bundle / "MODEL_CARD.md"
    (folder / "MODEL_CARD.txt").write_bytes(card.read_bytes() if card.is_file() else b"None.\n")
    _pack(json.dumps(page_settings(spec)).encode(), folder / SETTINGS_FILE)
    _pack(BLAZEFACE_FILE.read_bytes(), folder / DETECTOR_FILE)
    _pack((bundle / MODEL_FILE).read_bytes(), folder / MODEL_FILE)
    _copy_litert(packages, folder / "litert")


def replace(folder: Path, bundle: Path) -> None:
    """Writes the page in place of an older one, whole or not at all.

    Args:
        folder: Folder to make or to replace.
        bundle: The model's bundle.

    Raises:
        ValueError: As `write` does, or if the folder is something else than such a page.
    """
    if folder.exists() and not (folder / f"{SETTINGS_FILE}{PACKED}").is_file():
        raise ValueError(f"{folder} is there and is no page of this command; choose another --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        write(Path(place) / "new", bundle)
        if folder.exists():
            folder.rename(Path(place) / "old")
        (Path(place) / "new").rename(folder)


def page_settings(spec: ModelSpec) -> dict[str, Any]:
    """Returns what the page must know of the model and of the detector, as in Python."""
    corners, side = patches(spec.tile_size)
    return {
        "model": f"{spec.name} ({spec.variant})",
        "view": spec.view,
        "labels": spec.labels,
        "colours": [COLOURS[label] for label in spec.labels],
        "tile_size": spec.tile_size,
        "crop": asdict(spec.crop),
        "uncertain_below": spec.calibration.uncertain_below,
        "patch_side": side,
        "patches": corners,
        "evidence_colours": [f"rgb{FOR}", f"rgb{AGAINST}"],
        "detector": detector_settings(),
    }


def detector_settings() -> dict[str, Any]:
    """Returns how the face detector is used: for every port, the numbers of `fer.faces`."""
    return {
        **asdict(BlazeFaceConfig()),
        "quick_looks": [asdict(look) for look in QUICK_LOOKS],
        "native": NATIVE,
        "stride": STRIDE,
        "anchors": ANCHORS,
        "shapes": shape_places(BLAZEFACE_FILE.read_bytes()),
    }


def shape_places(content: bytes) -> list[tuple[int, int, int]]:
    """Finds the sizes in a convolutional ``.tflite`` that grow with its input.

    A runtime that cannot resize an input, such as LiteRT.js, runs another size when these 32-bit
    numbers are multiplied first.

    Args:
        content: The file, whose activations have shape (1, H, W, C) or, flattened, (1, N, C).

    Returns:
        For each: its offset in the file, the power of the input's height by which it is
        multiplied, and of the width.
    """
    base = np.frombuffer(content, np.uint8)
    model = schema.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    computed = set(graph.InputsAsNumpy().tolist())
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind != schema.BuiltinOperator.DEQUANTIZE:  # of weights, whose shapes stay
            computed |= set(operator.OutputsAsNumpy().tolist())
    places = []
    for index in sorted(computed):
        shape = graph.Tensors(index).ShapeAsNumpy()
        start = shape.ctypes.data - base.ctypes.data
        powers = {4: ((1, 1, 0), (2, 0, 1)), 3: ((1, 1, 1),)}[len(shape)]
        places += [(start + 4 * axis, down, across) for axis, down, across in powers]
    return places


def _fill(index: Path) -> None:
    """Puts the seven bars into the page, without styles: its policy allows none in the HTML."""
    bars = bars_html(dict.fromkeys(LABELS, 0.0), "Probability of each expression")
    text = index.read_text(encoding="utf-8")
    filled = text.replace("<!-- bars -->", re.sub(r' style="[^"]*"', "", bars))
    index.write_text(filled, encoding="utf-8")


def _copy_litert(packages: Path, folder: Path) -> None:
    folder.mkdir()
    utilities = '"@litertjs/wasm-utils"'  # a name that only bundlers and Node.js resolve
    module = (packages / "core" / "dist" / "index.js").read_text(encoding="utf-8")
    if module.count(utilities) != 1:
        raise ValueError("@litertjs/core is not laid out as expected; was its pin changed?")
    files = {
        "index.js": module.replace(utilities, '"./wasm-utils.js"'),
        "wasm-utils.js": (packages / "wasm-utils" / "dist" / "index.js").read_text("utf-8"),
    }
    for name, text in files.items():
        text = re.sub(r"^//# sourceMappingURL=.*\n?", "", text, flags=re.MULTILINE)
        (folder / name).write_text(text, encoding="utf-8")
    for variant in _VARIANTS:
        shutil.copyfile(packages / "core" / "wasm" / f"{variant}.js", folder / f"{variant}.js")
        wasm = packages / "core" / "wasm" / f"{variant}.wasm"
        _pack(wasm.read_bytes(), folder / wasm.name)


def _pack(content: bytes, target: Path) -> None:
    # A host that knows the suffix, such as .gz, may unpack the file on its own.
    target.with_name(f"{target.name}{PACKED}").write_bytes(gzip.compress(content, 9, mtime=0))

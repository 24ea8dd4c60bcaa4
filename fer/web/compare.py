"""The tab "Compare": one face through every variant of the model that is at hand."""

import functools
import json
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from fer.image import ImageDecodeError
from fer.labels import LABELS
from fer.overlay import COLOURS, grey_tile
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer
from fer.runtime import TileClassifier
from fer.spec import ModelSpec, SpecError
from fer.web.charts import image_html, message_html
from fer.web.components import AT_ONCE, photo_box
from fer.web.photo import read

VARIANTS = DEFAULT_BUNDLE.parent / "variants"
"""Bundles of the shipped model's other variants."""

WAITING_HTML = message_html(
    "The same face, several files",
    "Choose a photo: its largest face goes through every variant of the model, from 32-bit floats "
    "to 8-bit integers.",
    role="note",
)

_RUNS = 9  # timed, after one that is not
_TILE_SIDE = 192


@dataclass(frozen=True)
class Variant:
    """One file of the model.

    Attributes:
        name: The export variant.
        classifier: Runs it.
        megabytes: Its size.
        accuracy: On PublicTest, in [0, 1], as its manifest says.
    """

    name: str
    classifier: TileClassifier
    megabytes: float
    accuracy: float


class Variants:
    """The variants beside a bundle, loaded when they are asked for first."""

    def __init__(self, bundle: Path) -> None:
        """Remembers where to look.

        Args:
            bundle: The app's model; its variants are the bundles beside it, and the shipped ones,
                that were exported from the same checkpoint for the same label view.
        """
        self._bundle = bundle
        self._lock = threading.Lock()
        self._loaded: list[Variant] | None = None

    def load(self) -> list[Variant]:
        """Returns the variants, largest file first."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> list[Variant]:
        own = _manifest(self._bundle)
        view = ModelSpec.load(self._bundle).view
        found: dict[str, Variant] = {}
        for folder in (self._bundle, *self._bundle.parent.glob("*/"), *VARIANTS.glob("*/")):
            manifest = _manifest(folder)
            if manifest.get("checkpoint_sha256") != own.get("checkpoint_sha256"):
                continue
            try:
                spec = ModelSpec.load(folder)
                if spec.view != view or spec.variant in found:
                    continue
                classifier = TileClassifier.from_bundle(folder, spec)
            except SpecError:
                continue  # the comparison is of those that are whole
            found[spec.variant] = Variant(
                spec.variant,
                classifier,
                manifest["files"]["model.tflite"]["bytes"] / 1e6,
                manifest["parity"]["accuracy"]["value"],
            )
        return sorted(found.values(), key=lambda variant: -variant.megabytes)


def tab(recognizer: EmotionRecognizer, bundle: Path) -> None:
    """Adds the tab's content."""
    with gr.Row(elem_classes="fer-columns"):
        with gr.Column(scale=3, min_width=260):
            photo = photo_box("Photo to compare", "compare-photo")
        with gr.Column(scale=8, min_width=300):
            result = gr.HTML(
                WAITING_HTML, js_on_load=None, apply_default_css=False, elem_id="compare-result"
            )
    photo.change(
        functools.partial(show, recognizer, Variants(bundle)),
        photo,
        result,
        api_visibility="private",
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_limit=AT_ONCE,
        concurrency_id="recognize",
    )


def show(recognizer: EmotionRecognizer, variants: Variants, path: str | None) -> str:
    """Reads the largest face of a photo with every variant, as HTML.

    Args:
        recognizer: Finds the face.
        variants: Which read it.
        path: The picture file; None where the visitor removed it.
    """
    if path is None:
        return WAITING_HTML
    try:
        _, faces = read(recognizer, path)
    except ImageDecodeError as error:
        return message_html("This file could not be read", str(error), role="alert")
    if not faces:
        return message_html("No face found", "The photo was read, but no face was seen in it.")
    tile = faces[0].tile
    loaded = variants.load()
    answers = [timed(variant.classifier, tile.astype(np.float32)) for variant in loaded]
    return _table_html(loaded, answers, tile)


def timed(
    classifier: TileClassifier, tile: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Returns a tile's probabilities, shape (7,), and the median time of an answer in ms."""
    probabilities = classifier.predict(tile[None]).probabilities[0]
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        classifier.predict(tile[None])
        times.append(time.perf_counter() - start)
    return probabilities, 1000 * statistics.median(times)


def _table_html(
    variants: list[Variant],
    answers: list[tuple[NDArray[np.float32], float]],
    tile: NDArray[np.uint8],
) -> str:
    reference = answers[0][0]
    tops = [LABELS[int(probabilities.argmax())] for probabilities, _ in answers]
    agree = (
        "All of them see the same expression."
        if len(set(tops)) == 1
        else "They do not agree on this face: it is a close call."
    )
    head = "".join(f'<th scope="col">{variant.name}</th>' for variant in variants)
    rows = []
    for index, label in enumerate(LABELS):
        cells = "".join(
            f'<td{" class=fer-top" if top == label else ""}><span class="fer-track" '
            f'aria-hidden="true"><span style="width:{probabilities[index]:.1%};'
            f'background:{COLOURS[label]}"></span></span>{probabilities[index]:.1%}</td>'
            for (probabilities, _), top in zip(answers, tops, strict=True)
        )
        rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    facts = {
        "size": [f"{variant.megabytes:.1f} MB" for variant in variants],
        "time, here": [f"{milliseconds:.1f} ms" for _, milliseconds in answers],
        f"largest difference from {variants[0].name}": [
            f"{np.abs(probabilities - reference).max():.1%}" for probabilities, _ in answers
        ],
        "accuracy on PublicTest": [f"{variant.accuracy:.1%}" for variant in variants],
    }
    foot = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in facts.items()
    )
    seen = image_html(grey_tile(tile, _TILE_SIDE), "The face that was compared, in grey")
    return (
        f'<div class="fer-compare"><div class="fer-compared">{seen}<p>{agree} The file that this '
        "page uses elsewhere is among them.</p></div>"
        '<div class="fer-wide" tabindex="0" role="region" aria-label="Comparison">'
        "<table><caption>Probability of each expression, by variant of the model</caption>"
        f'<thead><tr><th scope="col">Expression</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody><tfoot>{foot}</tfoot></table></div></div>"
    )


def _manifest(bundle: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}

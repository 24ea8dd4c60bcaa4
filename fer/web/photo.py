"""The tab "Photo": a picture in, every face with its seven probabilities out."""

import functools
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from fer.image import ImageDecodeError, load_image
from fer.recognizer import EmotionRecognizer, FaceEmotion
from fer.tables import write_photos
from fer.web.charts import download_html, message_html, photo_html, result_html
from fer.web.components import AT_ONCE, photo_box, without_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "astronaut.png"

WAITING_HTML = message_html(
    "Your result appears here",
    "Seven bars for every face, and which parts of the face speak for the answer. Photos with "
    "several faces are welcome.",
    role="note",
)

_EXPLAINED = 3  # faces: each costs about as long as finding all of them
_LOG = logging.getLogger("fer.web")
_SAVE = (Path(__file__).parent / "save.js").read_text(encoding="utf-8")


def tab(recognizer: EmotionRecognizer) -> None:
    """Adds the tab's content and the endpoint ``/predict``."""
    with gr.Row(elem_classes="fer-columns"):
        with gr.Column(scale=5, min_width=300):
            photo = photo_box("Photo", "photo")
            marked = gr.HTML(js_on_load=_SAVE, apply_default_css=False, elem_id="marked")
            example = gr.Button(
                "Or try this portrait (Eileen Collins, NASA, public domain)",
                icon=EXAMPLE if EXAMPLE.is_file() else None,
                visible=EXAMPLE.is_file(),
                elem_id="example",
            )
        with gr.Column(scale=6, min_width=300):
            result = gr.HTML(
                WAITING_HTML,
                js_on_load="element.setAttribute('aria-live', 'polite')",
                apply_default_css=False,
                elem_id="result",
            )
    example.click(lambda: str(EXAMPLE), None, photo, api_visibility="private", queue=False)
    photo.change(
        functools.partial(show, recognizer),
        photo,
        [marked, result],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=result,
        trigger_mode="always_last",
        concurrency_limit=AT_ONCE,
        concurrency_id="recognize",
    )

    def predict(image: str | None) -> dict[str, Any]:
        """Finds the faces of a photo and reads their expressions.

        Args:
            image: The picture file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.

        Returns:
            The model's name, its label view, and a list of faces, largest first: box in pixels,
            label, confidence, whether that is uncertain, and the seven probabilities.
        """
        if image is None:
            raise gr.Error("no picture was given; send one as a file", print_exception=False)
        try:
            _, faces = read(recognizer, image)
        except ImageDecodeError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return answer(recognizer, faces)

    # Only there to be called from a program.
    gr.Button(visible=False).click(
        predict,
        photo,
        gr.JSON(label="Faces", visible=False),
        api_name="predict",
        concurrency_limit=AT_ONCE,
        concurrency_id="recognize",
    )


def show(recognizer: EmotionRecognizer, path: str | None) -> tuple[str, str]:
    """Reads a photo for the page.

    Args:
        recognizer: Reads it.
        path: The picture file; None where the visitor removed it.

    Returns:
        HTML of the marked photo, and of the result or of what went wrong.
    """
    if path is None:
        return "", WAITING_HTML
    try:
        photo, faces = read(recognizer, path, explained=_EXPLAINED)
    except ImageDecodeError as error:
        return "", message_html("This file could not be read", str(error), role="alert")
    marked = photo_html(photo, faces)
    if faces:
        name = Path(path).name
        document = json.dumps({"image": name, **answer(recognizer, faces)}, indent=2)
        table = io.StringIO()
        write_photos(table, [(name, faces)])
        marked += (
            '<p class="fer-downloads">Save: <button type="button" class="fer-save">PNG</button> '
            f"{download_html('faces.csv', table.getvalue(), 'text/csv', 'CSV')} "
            f"{download_html('faces.json', document, 'application/json', 'JSON')}</p>"
        )
    return marked, result_html(faces)


def answer(recognizer: EmotionRecognizer, faces: list[FaceEmotion]) -> dict[str, Any]:
    """Returns what a program is told of a picture."""
    spec = recognizer.spec
    return {
        "model": f"{spec.name} ({spec.variant})",
        "view": spec.view,
        "faces": [face.to_dict() for face in faces],
    }


def read(
    recognizer: EmotionRecognizer, path: str, *, explained: int = 0
) -> tuple[NDArray[np.uint8], list[FaceEmotion]]:
    """Reads an uploaded picture and logs how long that took.

    Raises:
        fer.image.ImageDecodeError: If it cannot be read, without the server's folder.
    """
    start = time.perf_counter()
    try:
        photo = load_image(Path(path))
    except ImageDecodeError as error:
        _LOG.info("photo refused")
        raise ImageDecodeError(without_folder(error, path)) from error
    decoded = time.perf_counter()
    faces = recognizer.recognize(photo, explained=explained)
    times = {"decode_ms": decoded - start, "recognize_ms": time.perf_counter() - decoded}
    _LOG.info(
        "photo",
        extra={
            "facts": {
                "faces": len(faces),
                "megapixels": round(photo.shape[0] * photo.shape[1] / 1e6, 1),
                **{name: round(1000 * value) for name, value in times.items()},
            }
        },
    )
    return photo, faces

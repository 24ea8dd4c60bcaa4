"""The demo page: a photo in, every face with its seven probabilities out.

Run ``python app.py`` and open http://127.0.0.1:7860; ``python app.py --help`` lists the options.
"""

import argparse
import base64
import functools
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it from when it is imported on

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from numpy.typing import NDArray

from fer._conflict import conflicting_install
from fer._stderr import silent_stderr
from fer.image import ImageDecodeError, load_image
from fer.labels import LABELS
from fer.overlay import encode_jpeg, fit_photo, grey_tile, importance_tile
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer, FaceEmotion
from fer.spec import TRUTHS, Calibration

TITLE = "Facial expressions in photos"
EXAMPLE = Path(__file__).parent / "examples" / "astronaut.png"

# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#e69f00",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
    "neutral": "#8c8c8c",
}

_BAD = 2
_PHOTO_SIDE = 1280  # pixels: as much as the page can show
_TILE_SIDE = 288
_EXPLAINED = 3  # faces: each costs about as long as finding all of them
_UPLOAD_AGE = 60  # seconds, before an upload's temporary file is deleted
_UPLOAD_CHECK = 30  # seconds between two looks for such files
_AT_ONCE = 4  # photos read at the same time
_WAITING = 32  # visitors in the queue before the next one is asked to come back


class Photo(gr.Image):
    """A `gr.Image` that hands over the file as it came.

    Gradio's own opens the file first and answers a damaged one with a generic error; ours goes
    through `fer.image.load_image`, which says what is wrong.
    """

    is_template = True  # drawn in the page as a gr.Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Returns the path of the upload, or None where there is none."""
        return payload.path if payload else None

    def example_value(self) -> str:
        """Returns the example that the API's documentation shows."""
        return "photo.jpg"


def build(recognizer: EmotionRecognizer, card: str = "") -> gr.Blocks:
    """Builds the page.

    Args:
        recognizer: Reads the photos; shared by all visitors.
        card: The model's card in Markdown, shown under "About".

    Returns:
        The page, for `serve`.
    """

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
            _, faces = _read(recognizer, image)
        except ImageDecodeError as error:
            raise gr.Error(str(error), print_exception=False) from error
        spec = recognizer.spec
        return {
            "model": f"{spec.name} ({spec.variant})",
            "view": spec.view,
            "faces": [face.to_dict() for face in faces],
        }

    demo = gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(_UPLOAD_CHECK, _UPLOAD_AGE)
    )
    with demo:
        gr.HTML(HEADER_HTML, js_on_load=None, apply_default_css=False)
        with gr.Row(elem_classes="fer-columns"):
            with gr.Column(scale=5, min_width=300):
                photo = Photo(
                    label="Photo",
                    sources=["upload", "webcam", "clipboard"],
                    type="filepath",
                    height=300,
                    buttons=[],
                    webcam_options=gr.WebcamOptions(mirror=True),
                    alt_text="The photo you chose",
                    elem_id="photo",
                )
                marked = gr.HTML(js_on_load=None, apply_default_css=False, elem_id="marked")
                if EXAMPLE.is_file():
                    gr.Examples(
                        [str(EXAMPLE)],
                        photo,
                        label="Or try this one (Eileen Collins, NASA, public domain)",
                        elem_id="example",
                        cache_examples=False,
                        api_visibility="private",
                    )
            with gr.Column(scale=6, min_width=300):
                result = gr.HTML(
                    WAITING_HTML,
                    js_on_load="element.setAttribute('aria-live', 'polite')",
                    apply_default_css=False,
                    elem_id="result",
                )
        with gr.Accordion("About: what this is, its limits, your privacy", open=False):
            gr.Markdown(about(recognizer.spec.calibration), elem_id="about")
            if card:
                with gr.Accordion("Model card", open=False):
                    gr.Markdown(_without_front_matter(card), elem_id="card")
        photo.change(
            functools.partial(show, recognizer),
            photo,
            [marked, result],
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=result,
            trigger_mode="always_last",
            concurrency_limit=_AT_ONCE,
            concurrency_id="recognize",
        )
        # Only there to be called from a program.
        gr.Button(visible=False).click(
            predict,
            photo,
            gr.JSON(label="Faces", visible=False),
            api_name="predict",
            concurrency_limit=_AT_ONCE,
            concurrency_id="recognize",
        )
    return demo


def serve(demo: gr.Blocks, host: str, port: int, *, max_file_size: str = "20mb") -> str:
    """Starts serving the page, and returns.

    Args:
        demo: What `build` made.
        host: Address to listen on.
        port: Port to listen on.
        max_file_size: Largest upload, such as ``20mb``.

    Returns:
        The page's address.
    """
    demo.queue(max_size=_WAITING)
    _, url, _ = demo.launch(
        server_name=host,
        server_port=port,
        max_file_size=max_file_size,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        run_history=False,  # it would keep visitors' photos in their browsers
        enable_monitoring=False,
        pwa=False,
        footer_links=["api", "settings"],
        theme=_theme(),
        css=CSS,
    )
    return url


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
        photo, faces = _read(recognizer, path)
    except ImageDecodeError as error:
        return "", message_html("This file could not be read", str(error), role="alert")
    return photo_html(photo, faces), result_html(faces)


def photo_html(photo: NDArray[np.uint8], faces: Sequence[FaceEmotion]) -> str:
    """Draws a photo with its faces boxed, numbered and named.

    Where there are several faces, a box is the label of the face's radio button in `result_html`,
    so that a click on a face chooses it.

    Args:
        photo: RGB of shape (H, W, 3), uint8.
        faces: What was found in it.

    Returns:
        HTML; the picture is inside it and needs no file on the server.
    """
    height, width = photo.shape[:2]
    boxes = []
    for number, face in enumerate(faces, 1):
        left, top = max(face.box.x, 0), max(face.box.y, 0)
        right = min(face.box.x + face.box.width, width)
        bottom = min(face.box.y + face.box.height, height)
        style = (
            f"left:{left / width:.2%};top:{top / height:.2%};--colour:{COLOURS[face.label]};"
            f"width:{(right - left) / width:.2%};height:{(bottom - top) / height:.2%}"
        )
        narrow = " fer-narrow" if (right - left) / width < 0.15 else ""
        low = " fer-low" if top / height < 0.08 else ""
        doubt = "?" if face.uncertain else ""
        tag = f'<span class="fer-tag">{number}<b> {escape(face.label)}{doubt}</b></span>'
        attributes = f'class="fer-box{narrow}{low}" style="{style}"'
        if len(faces) > 1:
            boxes.append(f'<label for="fer-face-{number}" {attributes}>{tag}</label>')
        else:
            boxes.append(f"<div {attributes}>{tag}</div>")
    marked = f", with {_count(len(faces))} marked" if faces else ""
    image = _img(fit_photo(photo, _PHOTO_SIDE), f"Your photo{marked}")
    return f'<div class="fer-photo">{image}{"".join(boxes)}</div>'


def result_html(faces: Sequence[FaceEmotion]) -> str:
    """Says what was found: one panel per face, and a choice of face where there are several.

    The choice needs no server: a panel shows itself while the radio button before it is checked.

    Args:
        faces: What was found, largest face first.

    Returns:
        HTML.
    """
    if not faces:
        return message_html(
            "No face found",
            "The photo was read, but no face was seen in it. Faces are found best when they look "
            "towards the camera, are well lit, and are not too small in the photo.",
        )
    if len(faces) == 1:
        return f'<div class="fer-faces">{_panel_html(faces[0], 1)}</div>'
    parts = []
    highlights = []
    for number, face in enumerate(faces, 1):
        name = f"fer-face-{number}"
        checked = " checked" if number == 1 else ""
        said = f"{face.label}, uncertain" if face.uncertain else face.label
        doubt = "?" if face.uncertain else ""
        parts.append(
            f'<input type="radio" name="fer-face" id="{name}" class="fer-pick"{checked} '
            f'aria-label="Face {number}: {escape(said)}">'
            f'<label for="{name}" class="fer-chip" style="--colour:{COLOURS[face.label]}">'
            f"{number} <b>{escape(face.label)}{doubt}</b></label>{_panel_html(face, number)}"
        )
        highlights.append(f':root:has(#{name}:checked) .fer-box[for="{name}"]')
    return (
        f"<style>{','.join(highlights)}{{outline:3px solid #fff;z-index:2}}</style>"
        '<div class="fer-faces" role="radiogroup" aria-labelledby="fer-choose">'
        f'<p id="fer-choose">{_count(len(faces)).capitalize()} found, the largest first. '
        f"Choose one here or in the photo:</p>{''.join(parts)}</div>"
    )


def about(calibration: Calibration) -> str:
    """Returns the text under "About", with how far the probabilities were off, as Markdown."""
    return (
        f"{ABOUT}\n**Measured.** A confidence is the probability of "
        f"{TRUTHS[calibration.truth]}. On test faces it was off by "
        f"{100 * calibration.ece_after:.0f} percentage points on average. Below "
        f"{calibration.uncertain_below:.0%} the label was wrong at least as often as right: such "
        "an answer is called uncertain.\n"
    )


def message_html(title: str, text: str, role: str = "status") -> str:
    """Tells the visitor something instead of a result.

    Args:
        title: A few words.
        text: A sentence or two.
        role: ARIA role: ``status``, or ``alert`` for what went wrong.

    Returns:
        HTML.
    """
    return (
        f'<div class="fer-message fer-{role}" role="{role}"><h2>{escape(title)}</h2>'
        f"<p>{escape(text)}</p></div>"
    )


def _panel_html(face: FaceEmotion, number: int) -> str:
    ranking = sorted(LABELS, key=lambda label: -face.probabilities[label])
    percent = round(100 * face.confidence)
    if face.uncertain:
        verdict = f"Uncertain: could be {ranking[0]} or {ranking[1]}"
        meaning = (
            f"Calibrated: {percent}% sure means right roughly {percent} times in 100, "
            "too seldom to name one expression."
        )
    else:
        words = next(words for least, words in _WORDS if face.confidence >= least)
        verdict = f"{face.label.capitalize()} <small>{words}, {percent}%</small>"
        meaning = (
            f"Calibrated: of 100 answers this sure, about {percent} "
            f"{'was' if percent == 1 else 'were'} right where it was measured."
        )
    rows = []
    for label in LABELS:
        share = f"{face.probabilities[label]:.1%}"
        top = ' class="fer-top"' if label == ranking[0] else ""
        rows.append(
            f'<tr{top}><th scope="row">{label}</th><td><span class="fer-track" aria-hidden="true">'
            f'<span style="width:{share};background:{COLOURS[label]}"></span></span></td>'
            f'<td class="fer-value">{share}</td></tr>'
        )
    size = face.tile.shape[0]
    seen = _img(grey_tile(face.tile, _TILE_SIDE), f"Face {number} in grey, {size} by {size} pixels")
    why = ""
    if face.importance is not None:
        picture = _img(
            importance_tile(face.tile, face.importance, _TILE_SIDE),
            f"Face {number} with the parts that speak for {face.label} laid over it",
        )
        why = (
            f'<figure>{picture}<figcaption><span><i style="color:#e69f00">&#9632;</i> speaks for '
            f'{face.label},</span> <span><i style="color:#0072b2">&#9632;</i> against</span>'
            "</figcaption></figure>"
        )
    return (
        f'<section class="fer-panel" aria-label="Face {number}">'
        f'<div class="fer-verdict{" fer-uncertain" if face.uncertain else ""}" '
        f'style="--colour:{COLOURS[face.label]}"><h2>{verdict}</h2><p>{meaning}</p></div>'
        f'<table class="fer-chart"><caption>Probability of each expression, face {number}'
        '</caption><thead><tr><th scope="col">Expression</th><th scope="col">Bar</th>'
        f'<th scope="col">Probability</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f'<div class="fer-why"><figure>{seen}<figcaption>What the network saw</figcaption></figure>'
        f"{why}</div>"
        "</section>"
    )


_WORDS = ((0.9, "almost certain"), (0.7, "confident"), (0.0, "likely"))


def _read(recognizer: EmotionRecognizer, path: str) -> tuple[NDArray[np.uint8], list[FaceEmotion]]:
    file = Path(path)
    try:
        photo = load_image(file)
    except ImageDecodeError as error:
        # Visitors know their file's name, and need not know where the server put it.
        raise ImageDecodeError(str(error).replace(f"{file.parent}{os.sep}", "")) from error
    return photo, recognizer.recognize(photo, explained=_EXPLAINED)


def _img(picture: NDArray[np.uint8], alt: str) -> str:
    data = base64.b64encode(encode_jpeg(picture)).decode("ascii")
    height, width = picture.shape[:2]
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}">'
    )


def _count(faces: int) -> str:
    return "1 face" if faces == 1 else f"{faces} faces"


def _without_front_matter(card: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def _theme() -> gr.Theme:
    font = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    return gr.themes.Base(
        primary_hue=gr.themes.colors.sky,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=font,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_border_width="1px",
        block_shadow="none",
    )


HEADER_HTML = f"""\
<header class="fer-header"><h1>{TITLE}</h1>
<p>Choose a photo, take one, or paste one: every face gets a box and seven calibrated
probabilities. An expression is not a feeling: the model reads faces, not minds.</p></header>"""

WAITING_HTML = message_html(
    "Your result appears here",
    "Seven bars for every face, and which parts of the face speak for the answer. Photos with "
    "several faces are welcome.",
    role="note",
)

ABOUT = f"""\
A small network (EfficientNetB0, trained on FER2013 with FER+ votes) on LiteRT looks at every face
that a face detector finds, and gives a probability to each of {", ".join(LABELS[:-1])} and
{LABELS[-1]}.

**Limits.** An expression is not a felt emotion: people smile when they are sad, and the same face
means different things in different places and to different people. The labels the network learnt
from are guesses by strangers who often disagreed. How well it works for different groups of
people has not been measured. Small, turned, covered or dark faces are often missed or misread.

**Use it responsibly.** Nothing should be decided about anybody because of this page. In the
European Union, inferring emotions of people at work or in education is prohibited (AI Act,
Article 5(1)(f)), and where emotion recognition is allowed, people must be told that it looks at
them (Article 50(3)). Only use photos of people who agree.

**Your privacy.** The photo goes to the computer that runs this page and nowhere else. It is read
in memory, and the temporary file of the upload is deleted within two minutes. No photo, face or
result is kept, logged or used for training.
"""

CSS = """
body { --fer-quiet: color-mix(in srgb, var(--body-text-color) 78%, transparent); }
.html-container { padding: 0 !important; }
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.fer-header h1 { font-size: 1.6rem; font-weight: 650; margin: .4rem 0 .2rem; }
.fer-header p { color: var(--fer-quiet); max-width: 46rem; margin: 0; }
.fer-header h1, .fer-message h2, .fer-verdict h2, .fer-chart, .fer-faces {
  color: var(--body-text-color);
}
.fer-columns { gap: 1.5rem; }
.label-wrap { text-align: left; }

.fer-message { border: 1px solid var(--border-color-primary); border-radius: 12px;
  background: var(--block-background-fill); padding: 1.2rem 1.4rem; }
.fer-message h2 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .3rem; }
.fer-message p { margin: 0; color: var(--fer-quiet); overflow-wrap: anywhere; }
.fer-status { border-left: 6px solid #0072b2; }
.fer-alert { border-left: 6px solid #d55e00; }

/* Once the marked photo is shown, the chosen one need not be large as well. */
#photo:has(img[alt]) { height: 160px !important; }
.fer-columns:has(.fer-alert) #photo img { visibility: hidden; }
.fer-columns:has(.fer-photo) #example { display: none; }

.fer-photo { position: relative; width: fit-content; max-width: 100%; margin: 0 auto;
  line-height: 0; border-radius: 12px; overflow: hidden; }
.fer-photo img { max-width: 100%; max-height: 450px; width: auto; height: auto; margin: 0; }
.fer-box { position: absolute; border: 3px solid var(--colour); border-radius: 6px;
  box-shadow: 0 0 0 1px #0009, inset 0 0 0 1px #0009; line-height: 1.3; }
label.fer-box { cursor: pointer; }
.fer-tag { position: absolute; left: -3px; bottom: calc(100% + 3px); padding: 0 .45em;
  border-radius: 5px; font-size: 13px; white-space: nowrap; color: #fff; background: #111d;
  border-bottom: 3px solid var(--colour); }
.fer-tag b { color: #fff; font-weight: 600; }
.fer-low .fer-tag { bottom: auto; top: 0; left: 0; }
.fer-narrow b { display: none; }
.fer-narrow:hover { z-index: 3; }
.fer-narrow:hover b { display: inline; }

.fer-faces { display: flex; flex-wrap: wrap; gap: .4rem; }
#fer-choose { width: 100%; margin: 0 0 .2rem; }
.fer-pick { position: absolute; opacity: 0; width: 1px; height: 1px; }
.fer-chip { order: 1; cursor: pointer; padding: .15rem .7rem; border-radius: 999px;
  border: 2px solid var(--border-color-primary); border-left: 10px solid var(--colour);
  background: var(--block-background-fill); }
.fer-chip b { font-weight: 600; }
.fer-pick:checked + .fer-chip { border-color: var(--colour); box-shadow: 0 0 0 1px var(--colour); }
.fer-pick:focus-visible + .fer-chip { outline: 3px solid var(--body-text-color);
  outline-offset: 2px; }
.fer-panel { order: 2; width: 100%; display: grid; gap: 1rem; margin-top: .4rem; }
.fer-pick + .fer-chip + .fer-panel { display: none; }
.fer-pick:checked + .fer-chip + .fer-panel { display: grid; }

.fer-verdict { border-left: 8px solid var(--colour); padding: .1rem 0 .1rem .9rem; }
.fer-verdict h2 { font-size: 1.5rem; font-weight: 650; line-height: 1.25; margin: 0; }
.fer-verdict small { font-size: 1rem; font-weight: 400; margin-left: .3rem; }
.fer-verdict p { margin: .2rem 0 0; color: var(--fer-quiet); }
.fer-uncertain { border: 2px dashed #d55e00; border-radius: 12px; padding: .7rem .9rem; }
.fer-uncertain h2 { font-size: 1.25rem; }

.fer-chart { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.fer-chart caption, .fer-chart thead { position: absolute; width: 1px; height: 1px;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.fer-chart th, .fer-chart td { padding: .28rem 0; font-weight: 400; text-align: left; }
.fer-chart th { width: 5.2rem; }
.fer-chart td.fer-value { width: 4rem; text-align: right; }
.fer-track { display: block; height: 1.05rem; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, var(--body-text-color) 9%, transparent); }
.fer-track span { display: block; height: 100%; min-width: 2px; }
.fer-top th, .fer-top .fer-value { font-weight: 700; }

.fer-why { display: flex; gap: 1rem; }
.fer-why figure { margin: 0; flex: 1 1 0; max-width: 220px; }
.fer-why img { width: 100%; height: auto; border-radius: 10px; margin: 0; }
.fer-why figcaption { margin-top: .3rem; font-size: .85rem; line-height: 1.35;
  color: var(--fer-quiet); }
.fer-why span { white-space: nowrap; }
.fer-why i { font-style: normal; }

#card h1 { font-size: 1.2rem; }
#card h2 { font-size: 1.05rem; }
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Loads the model and serves the page until interrupted.

    Args:
        arguments: Command-line arguments; None for the process's own.

    Returns:
        0, or 2 if anything the user gave could not be used.
    """
    options = _parser().parse_args(arguments)
    conflict = conflicting_install()
    if conflict:
        return _fail(conflict)
    taken = _why_not_listen(options.host, options.port)
    if taken:
        return _fail(f"cannot serve on {options.host} port {options.port}: {taken}; try --port")
    start = time.perf_counter()
    bundle = options.model or DEFAULT_BUNDLE
    try:
        with silent_stderr():
            recognizer = EmotionRecognizer.from_bundle(
                bundle, detector_model=options.detector_model
            )
    except ValueError as error:
        return _fail(str(error))
    card = bundle / "MODEL_CARD.md"
    # A stop by a service manager tidies up as Ctrl+C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="fer-", ignore_cleanup_errors=True) as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        gr.routes.DEFAULT_TEMP_DIR = (
            uploads  # read when Gradio was imported; it makes a folder there
        )
        demo = build(recognizer, card.read_text(encoding="utf-8") if card.is_file() else "")
        url = serve(demo, options.host, options.port, max_file_size=options.max_file_size)
        seconds = time.perf_counter() - start
        sys.stdout.write(f"Ready in {seconds:.1f} s: {url} (Ctrl+C stops)\n")
        sys.stdout.flush()
        demo.block_thread()
    return 0


def _why_not_listen(host: str, port: int) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _fail(message: str) -> int:
    sys.stderr.write(f"app: error: {' '.join(message.split())}\n")
    return _BAD


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> Any:
        self.exit(_BAD, f"app: error: {message}; see python app.py --help\n")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to 65535, received {text!r}"
        )
    return int(text)


def _file_size(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,5}(kb|mb|gb)", text.lower()):
        raise argparse.ArgumentTypeError(
            f"must be a number with kb, mb or gb, such as 20mb, received {text!r}"
        )
    return text.lower()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python app.py",
        description="Serves a web page that reads the facial expressions in photos.",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0 lets other computers in (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        metavar="N",
        help="port to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="model bundle (default: the one shipped)"
    )
    parser.add_argument(
        "--detector-model",
        type=Path,
        metavar="FILE",
        help="YuNet .onnx face detector (default: BlazeFace, shipped)",
    )
    parser.add_argument(
        "--max-file-size",
        type=_file_size,
        default="20mb",
        metavar="SIZE",
        help="largest photo accepted (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

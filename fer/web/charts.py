"""Results as HTML: photos with boxes, seven bars a face, timelines, messages.

The pictures are inside the HTML, so that no result is ever a file on the server.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from fer.labels import LABELS
from fer.overlay import COLOURS, encode_jpeg, fit_photo, grey_tile, importance_tile
from fer.recognizer import FaceEmotion

_PHOTO_SIDE = 1280  # pixels: as much as the page can show
_TILE_SIDE = 288
_WORDS = ((0.9, "almost certain"), (0.7, "confident"), (0.0, "likely"))

# Lines are told apart without their colours too.
_DASHES = {
    "angry": "none",
    "disgust": "8 3",
    "fear": "2 3",
    "happy": "none",
    "sad": "8 3",
    "surprise": "2 3",
    "neutral": "12 3 2 3",
}
_PLOT = (600, 200)


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
    image = image_html(fit_photo(photo, _PHOTO_SIDE), f"Your photo{marked}")
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


def bars_html(probabilities: Mapping[str, float], caption: str) -> str:
    """Draws the seven bars: a table with a bar in each row, always in the order of the classes.

    Args:
        probabilities: Probability of every class.
        caption: What screen readers announce the table with.
    """
    top = max(LABELS, key=lambda label: probabilities[label])
    rows = []
    for label in LABELS:
        share = f"{probabilities[label]:.1%}"
        chosen = ' class="fer-top"' if label == top else ""
        rows.append(
            f'<tr{chosen}><th scope="row">{label}</th><td><span class="fer-track" '
            f'aria-hidden="true"><span style="width:{share};background:{COLOURS[label]}"></span>'
            f'</span></td><td class="fer-value">{share}</td></tr>'
        )
    return (
        f'<table class="fer-chart"><caption>{escape(caption)}</caption>'
        '<thead><tr><th scope="col">Expression</th><th scope="col">Bar</th>'
        f'<th scope="col">Probability</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def timeline_html(
    moments: Iterable[tuple[float, Sequence[float]]], seconds: float, caption: str
) -> str:
    """Draws the probabilities of one face through time: seven lines and their legend.

    Args:
        moments: Time in seconds, and the probabilities in the order of `fer.labels.LABELS`.
        seconds: Where the time axis ends.
        caption: What it shows, for everyone.
    """
    width, height = _PLOT
    points: dict[str, list[str]] = {label: [] for label in LABELS}
    for time, probabilities in moments:
        for label, value in zip(LABELS, probabilities, strict=True):
            points[label].append(f"{time / seconds * width:.1f},{(1 - value) * height:.1f}")
    lines = "".join(
        f'<polyline data-label="{label}" points="{" ".join(points[label])}" '
        f'stroke="{COLOURS[label]}" stroke-dasharray="{_DASHES[label]}"/>'
        for label in LABELS
    )
    grid = "".join(f'<path d="M0 {height * part / 4}H{width}"/>' for part in range(5))
    legend = "".join(
        f'<li><svg viewBox="0 0 30 6" aria-hidden="true"><path d="M0 3H30" '
        f'stroke="{COLOURS[label]}" stroke-dasharray="{_DASHES[label]}"/></svg>{label}</li>'
        for label in LABELS
    )
    return (
        f'<figure class="fer-timeline"><div><span>100%</span><span>50%</span><span>0%</span></div>'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(caption)}">{grid}{lines}</svg>'
        f"<ul>{legend}</ul><figcaption>{escape(caption)}</figcaption></figure>"
    )


def image_html(picture: NDArray[np.uint8], alt: str) -> str:
    """Returns an image tag that holds an RGB picture of shape (H, W, 3), uint8."""
    data = base64.b64encode(encode_jpeg(picture)).decode("ascii")
    height, width = picture.shape[:2]
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}">'
    )


def download_html(name: str, content: str, kind: str, text: str) -> str:
    """Returns a link that saves a text as a file; the text is inside it."""
    data = base64.b64encode(content.encode("utf-8")).decode("ascii")
    return (
        f'<a class="fer-save" download="{escape(name)}" '
        f'href="data:{kind};base64,{data}">{escape(text)}</a>'
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
    size = face.tile.shape[0]
    grey = grey_tile(face.tile, _TILE_SIDE)
    seen = image_html(grey, f"Face {number} in grey, {size} by {size} pixels")
    why = ""
    if face.importance is not None:
        over = image_html(
            importance_tile(face.tile, face.importance, _TILE_SIDE),
            f"Face {number} with the parts that speak for {face.label} laid over it",
        )
        under = image_html(grey, "")
        why = (
            f'<figure class="fer-map"><div>{under}{over}</div>'
            '<label>Overlay <input type="range" min="0" max="1" step="0.05" value="1" '
            "oninput=\"this.closest('figure').style.setProperty('--over', this.value)\"></label>"
            f'<figcaption><span><i style="color:#e69f00">&#9632;</i> speaks for '
            f'{face.label},</span> <span><i style="color:#0072b2">&#9632;</i> against</span>'
            "</figcaption></figure>"
        )
    return (
        f'<section class="fer-panel" aria-label="Face {number}">'
        f'<div class="fer-verdict{" fer-uncertain" if face.uncertain else ""}" '
        f'style="--colour:{COLOURS[face.label]}"><h2>{verdict}</h2><p>{meaning}</p></div>'
        f"{bars_html(face.probabilities, f'Probability of each expression, face {number}')}"
        f'<div class="fer-why"><figure>{seen}<figcaption>What the network saw</figcaption></figure>'
        f"{why}</div>"
        "</section>"
    )


def _count(faces: int) -> str:
    return "1 face" if faces == 1 else f"{faces} faces"

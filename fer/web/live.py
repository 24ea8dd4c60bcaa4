"""The tab "Live": the webcam's frames, read one after another.

The page sends a frame and what is known of the faces so far, and gets both back brought up to
date: the server keeps nothing between two frames, so no visitor can get another's. The page sends
the next frame when it has its answer, so a slow connection slows nobody else down.
"""

import base64
import binascii
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from fer.image import ImageDecodeError, load_image
from fer.labels import LABELS
from fer.recognizer import EmotionRecognizer
from fer.tracks import LOST_AFTER, TIME_CONSTANT, Tracks, follow
from fer.web.charts import bars_html, message_html, timeline_html
from fer.web.components import AT_ONCE, Photo, without_folder

FRAMES_PER_SECOND = 20
"""Most frames that a visitor's page sends in a second."""

WINDOW = 30
"""Seconds that the timeline shows."""

_JPEG = "data:image/jpeg;base64,"
_LARGEST = 1_000_000  # characters of a frame: many times what the page sends
_LOG = logging.getLogger("fer.web")
_SCRIPT = (Path(__file__).parent / "live.js").read_text(encoding="utf-8")


def tab(recognizer: EmotionRecognizer) -> None:
    """Adds the tab's content and the endpoint ``/predict_frame``."""

    def read_frame(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return read(recognizer, _picture(request), request.get("tracks"), request.get("time"))
        except (ImageDecodeError, ValueError) as error:
            return {"error": str(error)}

    gr.HTML(
        _page_html(),
        js_on_load=_SCRIPT,
        apply_default_css=False,
        elem_id="live",
        server_functions=[read_frame],
    )
    frame = Photo(label="Frame", type="filepath", visible=False)
    tracks = gr.JSON(label="Tracks", visible=False)
    taken = gr.Number(label="Time", visible=False)

    def predict_frame(
        image: str | None, tracks: dict[str, Any] | None = None, time: float = 0.0
    ) -> dict[str, Any]:
        """Reads one frame of a stream, with probabilities smoothed over the frames before.

        Args:
            image: The frame as a picture file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
            tracks: The ``tracks`` of the last frame's answer; null for the first frame.
            time: When the frame was taken, in seconds since the stream began.

        Returns:
            The model's name, its label view, a list of faces with their numbers, and ``tracks``,
            to be sent with the next frame.
        """
        if image is None:
            raise gr.Error("no picture was given; send one as a file", print_exception=False)
        try:
            return read(recognizer, Path(image), tracks, time)
        except ImageDecodeError as error:
            raise gr.Error(without_folder(error, image), print_exception=False) from error
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    gr.Button(visible=False).click(
        predict_frame,
        [frame, tracks, taken],
        gr.JSON(label="Faces", visible=False),
        api_name="predict_frame",
        concurrency_limit=AT_ONCE,
        concurrency_id="frames",
    )


def read(
    recognizer: EmotionRecognizer, picture: Path | bytes, before: Any, taken: Any
) -> dict[str, Any]:
    """Reads one frame of a stream.

    Args:
        recognizer: Reads it.
        picture: The frame, encoded.
        before: ``tracks`` of the last answer; None for the first frame.
        taken: When the frame was taken, in seconds since the stream began.

    Returns:
        Faces, numbered and smoothed, ``tracks`` for the next frame, and how long it took.

    Raises:
        fer.image.ImageDecodeError: If the frame cannot be read.
        ValueError: If the time or the tracks are not what they must be.
    """
    start = time.perf_counter()
    if isinstance(taken, bool) or not isinstance(taken, (int, float)) or not 0 <= taken < 1e9:
        raise ValueError(f"time must be seconds since the stream began, received {taken!r}")
    tracks = Tracks() if before is None else Tracks.from_dict(before)
    photo = load_image(picture)
    tracks = follow(tracks, recognizer.recognize(photo), float(taken))
    spec = recognizer.spec
    milliseconds = 1000 * (time.perf_counter() - start)
    _LOG.debug("frame", extra={"facts": {"ms": round(milliseconds, 1)}})
    return {
        "model": f"{spec.name} ({spec.variant})",
        "view": spec.view,
        "width": photo.shape[1],
        "height": photo.shape[0],
        "faces": [
            {
                "number": track.number,
                "box": asdict(track.box),
                "label": track.label,
                "confidence": track.confidence,
                "uncertain": track.confidence < spec.calibration.uncertain_below,
                "probabilities": dict(zip(LABELS, track.probabilities, strict=True)),
            }
            for track in tracks.visible(float(taken))
        ],
        "tracks": tracks.to_dict(),
        "milliseconds": round(milliseconds, 1),
    }


def _picture(request: Any) -> bytes:
    image = request.get("image") if isinstance(request, dict) else None
    if not isinstance(image, str) or not image.startswith(_JPEG) or len(image) > _LARGEST:
        raise ValueError("image must be a JPEG as a data URL of at most a million characters")
    try:
        return base64.b64decode(image[len(_JPEG) :], validate=True)
    except binascii.Error as error:
        raise ValueError(f"image must be a JPEG as a data URL: {error}") from error


def _page_html() -> str:
    waiting = message_html(
        "Your camera, read as it films",
        "Frames go to the computer that runs this page, are read in memory and forgotten. The "
        f"probabilities are smoothed (time constant {TIME_CONSTANT:g} s), and a face that is gone "
        f"for more than {LOST_AFTER:g} s gets a new number.",
        role="note",
    )
    settings = {"rate": FRAMES_PER_SECOND, "window": WINDOW, "labels": LABELS}
    nothing = bars_html(dict.fromkeys(LABELS, 0.0), "Probability of each expression, live")
    timeline = timeline_html([], WINDOW, f"The last {WINDOW} seconds")
    return f"""\
<div class="fer-live" data-settings="{json.dumps(settings).replace('"', "&quot;")}">
<div class="fer-columns fer-live-columns">
<div>
<div class="fer-stage"><video muted playsinline aria-label="Your camera"></video></div>
<p class="fer-live-buttons"><button type="button" class="fer-start">Start the camera</button>
<span class="fer-live-figures" aria-live="off"></span></p>
<div class="fer-live-message">{waiting}</div>
</div>
<div class="fer-live-result" hidden>
<div class="fer-live-faces" role="group" aria-label="Faces"></div>
<div class="fer-verdict"><h2></h2><p role="status"></p></div>
{nothing}
{timeline}
</div>
</div>
</div>"""

"""The tab "Video": a file in; its faces through time, and the video with them marked, out."""

import io
import logging
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from fer.labels import LABELS
from fer.overlay import COLOURS
from fer.recognizer import EmotionRecognizer
from fer.tables import write_moments
from fer.video import (
    MAX_SECONDS,
    READ_PER_SECOND,
    Moment,
    Second,
    VideoDecodeError,
    duration,
    has_sound,
    read_video,
    seconds,
)
from fer.web.charts import download_html, message_html, timeline_html
from fer.web.components import Clip, videos_folder, without_folder

WAITING_HTML = message_html(
    "The timeline appears here",
    f"Up to {MAX_SECONDS / 60:g} minutes of video: every face is followed and read "
    f"{READ_PER_SECOND} times a second. You get its probabilities through time, a table, and the "
    "video with the faces marked.",
    role="note",
)
CANCELLED_HTML = message_html("Cancelled", "Nothing of the video was kept.")

_FACES = 5  # timelines shown: of the faces seen for longest
_POINTS = 600  # a line: as many as it has pixels
_STEP = 0.5  # seconds between two reports of progress
_LOG = logging.getLogger("fer.web")


def tab(recognizer: EmotionRecognizer) -> None:
    """Adds the tab's content and the endpoint ``/predict_video``."""
    with gr.Row(elem_classes="fer-columns"):
        with gr.Column(scale=5, min_width=300):
            clip = Clip(label="Video", sources=["upload"], height=300, elem_id="clip")
            with gr.Row():
                start = gr.Button("Read the video", variant="primary", elem_id="read-video")
                cancel = gr.Button("Cancel", elem_id="cancel-video")
            marked = gr.HTML(js_on_load=None, apply_default_css=False, elem_id="marked-video")
        with gr.Column(scale=6, min_width=300):
            result = gr.HTML(
                WAITING_HTML, js_on_load=None, apply_default_css=False, elem_id="video-result"
            )

    def watch(path: str | None) -> Iterator[tuple[str, str]]:
        yield from show(recognizer, path)

    # One at a time: a video keeps both cores busy, and photos and frames come between its frames.
    running = start.click(
        watch,
        clip,
        [marked, result],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="video",
    )
    cancel.click(
        lambda: ("", CANCELLED_HTML),
        None,
        [marked, result],
        cancels=[running],
        api_visibility="private",
        queue=False,
    )
    # Not when another one comes: a click that follows at once would be cancelled with it.
    clip.clear(
        lambda: ("", WAITING_HTML),
        None,
        [marked, result],
        cancels=[running],
        api_visibility="private",
        queue=False,
    )

    def predict_video(video: str | None) -> dict[str, Any]:
        """Follows the faces of a video and reads their expressions, second by second.

        Args:
            video: The video file, up to two minutes: MP4, WebM, MOV, MKV or AVI.

        Returns:
            The model's name, its label view, the video's duration in seconds, and a list of rows,
            one for each face in each second: second, number of the face, label, confidence,
            whether that is uncertain, and the seven probabilities.
        """
        if video is None:
            raise gr.Error("no video was given; send one as a file", print_exception=False)
        try:
            moments = list(read_video(recognizer, Path(video)))
        except VideoDecodeError as error:
            raise gr.Error(without_folder(error, video), print_exception=False) from error
        spec = recognizer.spec
        return {
            "model": f"{spec.name} ({spec.variant})",
            "view": spec.view,
            "duration": moments[-1].time,
            "seconds": [
                {
                    **asdict(row),
                    "probabilities": dict(zip(LABELS, row.probabilities, strict=True)),
                }
                for row in seconds(moments, spec.calibration.uncertain_below)
            ],
        }

    gr.Button(visible=False).click(
        predict_video,
        clip,
        gr.JSON(label="Seconds", visible=False),
        api_name="predict_video",
        concurrency_limit=1,
        concurrency_id="video",
    )


def show(recognizer: EmotionRecognizer, path: str | None) -> Iterator[tuple[str, str]]:
    """Reads a video for the page.

    Args:
        recognizer: Reads its frames.
        path: The video file; None where the visitor chose none.

    Yields:
        HTML of the marked video, at last, and of the progress, the timelines or what went wrong.
    """
    if path is None:
        yield "", message_html("No video yet", "Choose a video file first.", role="alert")
        return
    begun = reported = time.monotonic()
    moments: list[Moment] = []
    folder = videos_folder() / secrets.token_urlsafe(16)  # nobody can guess another's
    folder.mkdir(parents=True)
    marked = folder / "faces.mp4"
    kept = False
    try:
        whole, sound = duration(Path(path)), has_sound(Path(path))
        yield "", _progress_html(0.0, whole, 0.0)
        for moment in read_video(recognizer, Path(path), marked):
            moments.append(moment)
            now = time.monotonic()
            if now - reported >= _STEP:
                reported = now
                yield "", _progress_html(moment.time, whole, now - begun)
        took = round(time.monotonic() - begun, 1)
        _LOG.info("video", extra={"facts": {"seconds": round(moments[-1].time, 1), "took_s": took}})
        result = result_html(moments, recognizer.spec.calibration.uncertain_below)
        yield _video_html(marked, lost=sound and not has_sound(marked)), result
        kept = True
    except VideoDecodeError as error:
        _LOG.info("video refused")
        text = without_folder(error, path)
        yield "", message_html("This video could not be read", text, role="alert")
    finally:
        # A visitor who cancels closes this generator wherever it is.
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _video_html(file: Path, lost: bool) -> str:
    note = " without its sound, which cannot be read" if lost else ""
    address = f"gradio_api/file={file.as_posix()}"
    return (
        f'<video class="fer-marked" controls playsinline src="{address}" '
        'aria-label="Your video with the faces marked"></video>'
        f'<p class="fer-downloads">Save: <a class="fer-save" download="faces.mp4" '
        f'href="{address}">MP4</a>{note}</p>'
    )


def result_html(moments: list[Moment], uncertain_below: float) -> str:
    """Says what was seen in a video: timelines, a table by seconds, and the CSV.

    Args:
        moments: What `fer.video.read_video` yielded, at least one.
        uncertain_below: Confidence below which an answer is uncertain.
    """
    often = Counter(face.number for moment in moments for face in moment.faces)
    if not often:
        return message_html(
            "No face found", "The video was read to its end, but no face was seen in it."
        )
    length = max(moments[-1].time, 1.0)
    parts = []
    for number, _ in often.most_common(_FACES):
        line = [
            (moment.time, face.probabilities)
            for moment in moments
            for face in moment.faces
            if face.number == number
        ]
        thinned = line[:: max(1, len(line) // _POINTS)]
        parts.append(timeline_html(thinned, length, f"Face {number}, {length:.0f} seconds"))
    more = ""
    if len(often) > _FACES:
        more = f"<p>{len(often) - _FACES} more faces are in the table and the file.</p>"
    file = io.StringIO()
    write_moments(file, moments, uncertain_below)
    save = download_html("faces.csv", file.getvalue(), "text/csv", "CSV, every reading")
    table = _table_html(seconds(moments, uncertain_below))
    return (
        f'<div class="fer-video">{"".join(parts)}{more}'
        f'<p class="fer-downloads">Save: {save}</p>{table}</div>'
    )


def _table_html(rows: list[Second]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{row.second // 60}:{row.second % 60:02}</th><td>{row.number}</td>'
        f'<td><i style="background:{COLOURS[row.label]}"></i>{row.label}'
        f"{'?' * row.uncertain}</td><td>{row.confidence:.0%}</td></tr>"
        for row in rows
    )
    return (
        '<div class="fer-seconds" tabindex="0" role="region" aria-label="Second by second"><table>'
        "<caption>Second by second</caption><thead>"
        '<tr><th scope="col">Time</th><th scope="col">Face</th><th scope="col">Expression</th>'
        f'<th scope="col">Confidence</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _progress_html(done: float, whole: float, took: float) -> str:
    share = min(1.0, done / whole) if whole else 0.0
    left = f", about {took * (1 / share - 1):.0f} s left" if share > 0.02 else ""
    text = f"{done:.0f} of {whole:.0f} seconds read{left}" if whole else f"{done:.0f} seconds read"
    return (
        '<div class="fer-message fer-note" role="status"><h2>Reading the video</h2>'
        f'<progress max="1" value="{share:.3f}" aria-label="Share of the video that was read">'
        f"</progress><p>{text}</p></div>"
    )

"""The page: a header and its tabs."""

from pathlib import Path

import gradio as gr

from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer
from fer.web import about, compare, live, photo, video

TITLE = "Facial expressions in photos and videos"

HEADER_HTML = f"""\
<header class="fer-header"><h1>{TITLE}</h1>
<p>A photo, your camera or a video: every face gets a box and seven calibrated probabilities. An
expression is not a feeling: the model reads faces, not minds.</p></header>"""

DEVICE_HTML = """\
<p class="fer-device"><a href="device/" target="_blank">The same on your own device</a>: in your
browser, without sending anything.</p>"""


def build(
    recognizer: EmotionRecognizer, bundle: Path = DEFAULT_BUNDLE, *, device: bool = False
) -> gr.Blocks:
    """Builds the page.

    Args:
        recognizer: Reads the pictures; shared by all visitors.
        bundle: The folder it was loaded from: its card, figures and variants are shown.
        device: Whether there is a page under ``/device/`` to link.

    Returns:
        The page, for `fer.web.server.serve`.
    """
    demo = gr.Blocks(title=TITLE, analytics_enabled=False)
    with demo:
        gr.HTML(HEADER_HTML + DEVICE_HTML * device, js_on_load=None, apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Photo"):
                photo.tab(recognizer)
            with gr.Tab("Live"):
                live.tab(recognizer)
            with gr.Tab("Video"):
                video.tab(recognizer)
            with gr.Tab("Compare"):
                compare.tab(recognizer, bundle)
            with gr.Tab("About"):
                about.tab(recognizer.spec, bundle)
    return demo

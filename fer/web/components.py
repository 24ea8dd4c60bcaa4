"""Gradio's upload components, handing over the file as it came.

Gradio's own open a picture first and answer a damaged one with a generic error; ours goes through
`fer.image` or `fer.video`, which say what is wrong.
"""

import os
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, ImageData

AT_ONCE = 4
"""Pictures and frames read at the same time; further ones wait their turn."""


class Photo(gr.Image):
    """A `gr.Image` whose functions receive a path."""

    is_template = True  # drawn in the page as a gr.Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Returns the path of the upload, or None where there is none."""
        return payload.path if payload else None

    def example_value(self) -> str:
        """Returns the example that the API's documentation shows."""
        return "photo.jpg"


def photo_box(label: str, elem_id: str) -> Photo:
    """Adds a box for a photo: a file, a snapshot or what was copied."""
    return Photo(
        label=label,
        sources=["upload", "webcam", "clipboard"],
        type="filepath",
        height=300,
        buttons=[],
        alt_text="The photo you chose",
        elem_id=elem_id,
    )


class Clip(gr.Video):
    """A `gr.Video` whose functions receive a path."""

    is_template = True  # drawn in the page as a gr.Video

    def preprocess(self, payload: FileData | None) -> str | None:
        """Returns the path of the upload, or None where there is none."""
        return payload.path if payload else None

    def example_value(self) -> str:
        """Returns the example that the API's documentation shows."""
        return "clip.mp4"


def uploads_folder() -> Path:
    """Returns the folder of what visitors send, whose old files are deleted.

    Raises:
        ValueError: If none is set: a folder that others use too would lose their files.
    """
    folder = os.environ.get("GRADIO_TEMP_DIR")
    if not folder:
        raise ValueError("GRADIO_TEMP_DIR must name a folder of the page's own, received nothing")
    return Path(folder)


def videos_folder() -> Path:
    """Returns where marked videos are kept while they can be watched."""
    return uploads_folder() / "fer-videos"


def without_folder(message: object, path: str) -> str:
    """Returns an error's text without the folder of an upload.

    Visitors know their file's name, and need not know where the server put it.
    """
    return str(message).replace(f"{Path(path).parent}{os.sep}", "")

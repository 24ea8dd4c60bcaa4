"""Gradio's upload components, handing over the file as it came.

Gradio's own open a picture first and answer a damaged one with a generic error; ours goes through
`fer.image` or `fer.video`, which say what is wrong.
"""

import os
import tempfile
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, ImageData

AT_ONCE = 4
"""Pictures and frames read at the same time; further ones wait their turn."""

from gradio.events import Dependency

class Photo(gr.Image):
    """A `gr.Image` whose functions receive a path."""

    is_template = True  # drawn in the page as a gr.Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Returns the path of the upload, or None where there is none."""
        return payload.path if payload else None

    def example_value(self) -> str:
        """Returns the example that the API's documentation shows."""
        return "photo.jpg"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class Clip(gr.Video):
    """A `gr.Video` whose functions receive a path."""

    is_template = True  # drawn in the page as a gr.Video

    def preprocess(self, payload: FileData | None) -> str | None:
        """Returns the path of the upload, or None where there is none."""
        return payload.path if payload else None

    def example_value(self) -> str:
        """Returns the example that the API's documentation shows."""
        return "clip.mp4"
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def videos_folder() -> Path:
    """Returns where marked videos are kept while they can be watched."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()) / "fer-videos"

def without_folder(message: object, path: str) -> str:
    """Returns an error's text without the folder of an upload.

    Visitors know their file's name, and need not know where the server put it.
    """
    return str(message).replace(f"{Path(path).parent}{os.sep}", "")

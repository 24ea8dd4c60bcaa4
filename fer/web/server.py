"""Serving the page: queue, limits, health, and logs that hold no picture."""

import contextlib
import io
import json
import logging
import mimetypes
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import fer
from fer.spec import ModelSpec
from fer.web.components import uploads_folder, videos_folder

WAITING = 32
"""Visitors in a queue before the next one is asked to come back."""

PICTURE_AGE = 60
"""Seconds before the temporary file of a picture is deleted."""

VIDEO_AGE = 1800
"""Seconds before that of a video is: one may wait for others to be read, and is then watched."""

CHECK = 30
"""Seconds between two looks for such files."""

_CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def serve(
    demo: gr.Blocks,
    spec: ModelSpec,
    host: str,
    port: int,
    *,
    max_file_size: str = "50mb",
    share: bool = False,
    device: Path | None = None,
) -> str:
    """Starts serving the page, and returns.

    Besides the page there are its API under ``/gradio_api``, the same as MCP tools under
    ``/gradio_api/mcp``, and ``/health``.

    Args:
        demo: What `fer.web.page.build` made.
        spec: The model's, for ``/health``.
        host: Address to listen on.
        port: Port to listen on.
        max_file_size: Largest upload, such as ``50mb``.
        share: Whether Gradio shall make a public address for it, for a week.
        device: The page of ``python -m export.phone``, served under ``/device/``; None for none.

    Returns:
        The page's address.

    Raises:
        ValueError: If ``GRADIO_TEMP_DIR`` is not set.
    """
    demo.queue(max_size=WAITING)
    videos = videos_folder()
    videos.mkdir(parents=True, exist_ok=True)
    # Gradio announces its MCP server, however quiet it shall be.
    with contextlib.redirect_stdout(io.StringIO()):
        application, url, _ = demo.launch(
            server_name=host,
            server_port=port,
            max_file_size=max_file_size,
            prevent_thread_lock=True,
            quiet=True,
            share=share,
            ssr_mode=False,
            run_history=False,  # it would keep visitors' photos in their browsers
            enable_monitoring=False,
            pwa=True,
            mcp_server=True,
            allowed_paths=[str(videos)],
            footer_links=["api", "settings"],
            theme=_theme(),
            css=_CSS,
        )
    uploads = uploads_folder()
    stay = set(uploads.rglob("*"))  # the example
    threading.Thread(target=_forget, args=(demo, uploads, stay), daemon=True).start()
    start = time.monotonic()

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "status": "ok",
                "version": fer.__version__,
                "model": spec.name,
                "variant": spec.variant,
                "view": spec.view,
                "seconds_up": round(time.monotonic() - start, 1),
            }
        )

    # Before Gradio's own, whose last one takes every address for a page.
    application.router.routes.insert(0, Route("/health", health))
    if device:
        files = StaticFiles(directory=device, html=True)
        application.router.routes.insert(0, Mount("/device", files))
    return str(demo.share_url or url)


def _forget(demo: gr.Blocks, uploads: Path, stay: set[Path]) -> None:
    """Deletes what visitors sent and got, when it is old enough, while the page is served.

    Gradio's own ``delete_cache`` does not know the files that come through MCP.
    """
    while demo.is_running:
        time.sleep(CHECK)
        for path in uploads.rglob("*"):
            kind, _ = mimetypes.guess_type(path)
            age = VIDEO_AGE if (kind or "").startswith("video/") else PICTURE_AGE
            with contextlib.suppress(OSError):  # another look, or the visitor, was faster
                if path not in stay and path.is_file() and time.time() - path.stat().st_mtime > age:
                    path.unlink()


class JsonLines(logging.Formatter):
    """One JSON object a line: when, what, and figures; never a picture or a file's name."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record whose ``facts`` may hold figures."""
        facts: Mapping[str, Any] = getattr(record, "facts", {})
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return json.dumps({"time": stamp, "event": record.getMessage(), **facts})


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
        # Gradio's own are too faint for WCAG AA.
        body_text_color_subdued="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )

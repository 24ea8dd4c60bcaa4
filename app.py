"""The demo page: photos, the webcam or videos in, every face with its seven probabilities out.

Run ``python app.py`` and open http://127.0.0.1:7860; ``python app.py --help`` lists the options.
"""

import argparse
import contextlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it from when it is imported on

import gradio as gr
import gradio.mcp

from fer._command import OneLineParser, fail, whole_number
from fer._conflict import conflicting_install
from fer._stderr import silent_stderr
from fer.hub import bundle_folder
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer
from fer.web.page import build
from fer.web.server import JsonLines, serve

_EXAMPLES = """\
Each option can be set in the environment too: FER_PORT=8000, FER_SHARE=1, and so on; a flag wins.

examples:
  python app.py
  python app.py --host 0.0.0.0 --port 8000 --max-file-size 20mb
  python app.py --model exported/mixed_int8 --threads 2
  python app.py --model hf://USER/NAME
"""

_STOPS = (signal.SIGINT, signal.SIGTERM)  # Ctrl+C, and a service manager


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
        return fail("app", conflict)
    taken = _why_not_listen(options.host, options.port)
    if taken:
        return fail(
            "app", f"cannot serve on {options.host} port {options.port}: {taken}; try --port"
        )
    device = options.device if (options.device / "index.html").is_file() else None
    start = time.perf_counter()
    try:
        bundle = bundle_folder(options.model) if options.model else DEFAULT_BUNDLE
        with silent_stderr():
            recognizer = EmotionRecognizer.from_bundle(
                bundle, detector_model=options.detector_model, threads=options.threads
            )
    except ValueError as error:
        return fail("app", str(error))
    _log_to_stderr()
    for stop in _STOPS:
        signal.signal(stop, _stop)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="fer-", ignore_cleanup_errors=True) as uploads,
    ):
        os.environ["GRADIO_TEMP_DIR"] = uploads
        # Read when Gradio was imported; it puts files there that are no visitor's upload.
        gr.routes.DEFAULT_TEMP_DIR = gradio.mcp.DEFAULT_TEMP_DIR = uploads
        url = serve(
            demo := build(recognizer, bundle, device=device is not None),
            recognizer.spec,
            options.host,
            options.port,
            max_file_size=options.max_file_size,
            share=options.share,
            device=device,
        )
        seconds = time.perf_counter() - start
        sys.stdout.write(f"Ready in {seconds:.1f} s: {url} (Ctrl+C stops)\n")
        sys.stdout.flush()
        demo.block_thread()
    return 0


def _stop(*_: object) -> None:
    """Ends the page, once: closing it takes seconds, and no second Ctrl+C shall cut it short."""
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    log = logging.getLogger("fer.web")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


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


def _file_size(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,5}(kb|mb|gb)", text.lower()):
        raise argparse.ArgumentTypeError(
            f"must be a number with kb, mb or gb, such as 20mb, received {text!r}"
        )
    return text.lower()


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false"):
        raise argparse.ArgumentTypeError(f"must be 1 or 0, received {text!r}")
    return text.lower() in ("1", "true")


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python app.py",
        description="Serves a web page that reads the facial expressions in photos and videos.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    setting = os.environ.get
    parser.add_argument(
        "--host",
        default=setting("FER_HOST") or setting("GRADIO_SERVER_NAME") or "127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other computers in (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=whole_number(1, 65535),
        default=setting("FER_PORT") or setting("GRADIO_SERVER_PORT") or "7860",
        metavar="N",
        help="port to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--share",
        type=_switch,
        nargs="?",
        const=True,
        default=setting("FER_SHARE") or "0",
        metavar="1|0",
        help="make a public address through Gradio's servers (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        default=setting("FER_MODEL") or None,
        metavar="DIR|hf://USER/NAME[@REV][/VARIANT]",
        help="model bundle, a folder or on the Hugging Face Hub (default: the one shipped)",
    )
    parser.add_argument(
        "--detector-model",
        type=Path,
        default=setting("FER_DETECTOR_MODEL") or None,
        metavar="FILE",
        help="YuNet .onnx face detector (default: BlazeFace, shipped)",
    )
    parser.add_argument(
        "--device",
        type=Path,
        default=setting("FER_DEVICE") or Path(__file__).parent / "build" / "phone" / "web",
        metavar="DIR",
        help="page of python -m export.phone, served at /device/ if it is there (default: "
        "build/phone/web)",
    )
    parser.add_argument(
        "--max-file-size",
        type=_file_size,
        default=setting("FER_MAX_FILE_SIZE") or "50mb",
        metavar="SIZE",
        help="largest photo or video accepted (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1, 256),
        default=setting("FER_THREADS") or "1",
        metavar="N",
        help="CPU threads of one inference (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

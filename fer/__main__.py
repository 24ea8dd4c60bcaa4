"""``python -m fer PHOTO...``: the expressions in photos, on the command line."""

import argparse
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer._command import BAD, OneLineParser, fail, whole_number
from fer._conflict import conflicting_install
from fer._stderr import silent_stderr

if TYPE_CHECKING:
    from fer.recognizer import FaceEmotion

_EXAMPLES = """\
examples:
  python -m fer photo.jpg
  python -m fer --json holiday/*.jpg > faces.json
  python -m fer --csv --model my-bundle photo.jpg
  python -m fer --model hf://USER/NAME@v1 photo.jpg
"""

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Command-line arguments; None for the process's own.

    Returns:
        0; 2 if anything the user gave could not be used; 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    conflict = conflicting_install()
    if conflict:
        return fail("fer", conflict)
    # A file name need not be valid text, nor the terminal able to show it.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # The pictures' decoders grumble about metadata; whatever matters becomes an error.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _recognize(options)
        except KeyboardInterrupt:
            return _INTERRUPTED


def _recognize(options: argparse.Namespace) -> int:
    from fer.hub import bundle_folder
    from fer.image import ImageDecodeError
    from fer.recognizer import EmotionRecognizer

    try:
        with silent_stderr():
            recognizer = EmotionRecognizer.from_bundle(
                None if options.model is None else bundle_folder(options.model),
                detector_model=options.detector_model,
                threads=options.threads,
            )
    except ValueError as error:
        return fail("fer", str(error))
    failed = False

    def results() -> "Iterator[tuple[str, list[FaceEmotion]]]":
        nonlocal failed
        for photo in options.photos:
            try:
                yield photo, recognizer.recognize(photo)
            except ImageDecodeError as error:
                failed = True
                fail("fer", str(error))

    try:
        _PRINTERS[options.format](results(), max(map(len, options.photos)))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more on exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BAD if failed else 0


def _print_text(results: "Iterable[tuple[str, list[FaceEmotion]]]", indent: int) -> None:
    for photo, faces in results:
        for face in faces:
            line = f"{photo:{indent}}  {face.label:8} {face.confidence:4.0%}"
            print(line + ("  uncertain" if face.uncertain else ""))
        if not faces:
            print(f"{photo:{indent}}  no face found")


def _print_json(results: "Iterable[tuple[str, list[FaceEmotion]]]", _: int) -> None:
    document = [
        {"image": photo, "faces": [face.to_dict() for face in faces]} for photo, faces in results
    ]
    print(json.dumps(document, indent=2))


def _print_csv(results: "Iterable[tuple[str, list[FaceEmotion]]]", _: int) -> None:
    from fer.tables import write_photos

    write_photos(sys.stdout, results)


_PRINTERS = {"text": _print_text, "json": _print_json, "csv": _print_csv}


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m fer",
        description="Reads the facial expressions in photos: one line per face.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="a picture file")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        default="text",
        help="print one JSON document, with the seven probabilities of every face",
    )
    form.add_argument(
        "--csv", dest="format", action="store_const", const="csv", help="print one row per face"
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="model bundle: a folder, or hf://USER/NAME[@REVISION][/VARIANT] on the Hugging Face "
        "Hub (default: the one shipped)",
    )
    parser.add_argument(
        "--detector-model",
        type=Path,
        metavar="FILE",
        help="YuNet .onnx face detector (default: BlazeFace, shipped)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1, 256),
        default=1,
        metavar="N",
        help="CPU threads (default: 1)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

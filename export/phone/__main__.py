"""Makes the on-device page and the handover: ``python -m export.phone --out DIR``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.phone import handover, page
from fer._command import OneLineParser, fail
from fer.hub import bundle_folder
from fer.recognizer import DEFAULT_BUNDLE

WEB, HANDOVER = "web", "fer-edge-phone.zip"

_EPILOG = """\
DIR/web is the page for any static host; DIR/fer-edge-phone.zip is for who writes an app. The first
run needs npm and a network. exit status: 0 written, 2 something given could not be used

examples:
  python -m export.phone --out build/phone
  python -m http.server --directory build/phone/web
  python -m export.phone --out build/phone --bundle fer/assets/variants/mixed_int8
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both.

    Args:
        arguments: Command-line arguments; None for the process's own.

    Returns:
        0, or 2 if anything the user gave could not be used.
    """
    options = _parser().parse_args(arguments)
    out: Path = options.out
    try:
        bundle = bundle_folder(options.bundle)
        page.replace(out / WEB, bundle)
        handover.write(out / HANDOVER, bundle, out / WEB)
    except (ValueError, OSError) as error:
        return fail("export.phone", str(error))
    for path in (out / WEB, out / HANDOVER):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        print(f"{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m export.phone",
        description="Makes the page that runs the model in the browser, and the handover to apps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--bundle",
        default=DEFAULT_BUNDLE,
        metavar="DIR|hf://USER/NAME[@REV][/VARIANT]",
        help="model bundle (default: the one shipped)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

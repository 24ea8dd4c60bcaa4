"""Publishes the demo as a Hugging Face Space: ``python -m export.push_space --repo USER/NAME``."""

import argparse
import os
import re
from pathlib import Path

from huggingface_hub import SpaceCardData

from export.card import LIMITS, RESPONSIBLE_USE
from export.publish import CARD_FILE, KEPT, Files, Target, publish, quiet, report, show
from fer.hub import PREFIX, bundle_folder
from fer.recognizer import DEFAULT_BUNDLE
from train.program import new_parser, run

EPILOG = """examples:
  python -m export.push_space --repo USER/NAME --dry-run
  python -m export.push_space --repo USER/NAME --model-repo USER/MODEL@v1

The token is the one of `hf auth login`, or HF_TOKEN. What has not changed is not sent again. Exit
status: 0 published, 2 it could not be, with the reason.
"""

MOST_BYTES = 40_000_000

ROOT = Path(__file__).parents[1]
_FILES = ("app.py", "requirements.txt", "LICENSE", "NOTICE")
_FOLDERS = ("examples", "fer")
_PYTHON = "3.11"  # where CI runs everything: Debian 12
_MODEL = DEFAULT_BUNDLE.relative_to(ROOT).as_posix()

_README = """---
{metadata}
---

# fer-edge

Facial expressions in a photo, from the webcam or in a video: seven calibrated probabilities for
every face, on one CPU core. Nothing that is uploaded is kept.{model}

{limits}

## Responsible use

{responsible_use}
"""


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "export.push_space",
        "Publish the demo as a Space on the Hugging Face Hub: what app.py needs and nothing else, "
        "in one commit.",
        EPILOG,
    )
    parser.add_argument("--repo", required=True, metavar="USER/NAME")
    parser.add_argument(
        "--model-repo",
        metavar="USER/NAME[@REVISION][/VARIANT]",
        help="put the bundle published there into the Space (default: the one shipped here)",
    )
    parser.add_argument("--private", action="store_true", help="only you may see the Space")
    parser.add_argument(
        "--overwrite-card",
        action="store_true",
        help="replace the Space's README.md even if a person edited it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the files; ask the Hub for the model only"
    )
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    quiet()
    target = Target(
        options.repo, "space", private=options.private, overwrite_card=options.overwrite_card
    )
    files = collect(ROOT, options.model_repo)
    if options.dry_run:
        show(files)
        return
    report(publish(target, files, "Publish the demo", model_repo=options.model_repo), target)


def collect(root: Path, model_repo: str | None = None) -> Files:
    """Returns what the Space needs.

    Args:
        root: The project's folder.
        model_repo: A published bundle for the app, in place of the shipped one; None for that.

    Raises:
        ValueError: If a file is missing, or they are more than a Space should hold.
    """
    for name in _FILES:
        if not (root / name).is_file():
            raise ValueError(f"{root / name} is missing: run this in the project's own folder")
    files: dict[str, Path | bytes] = {name: root / name for name in _FILES}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and _wanted(path.relative_to(root)):
                files[path.relative_to(root).as_posix()] = path
    if model_repo is not None:
        bundle = bundle_folder(PREFIX + model_repo)
        files = {name: file for name, file in files.items() if not name.startswith(f"{_MODEL}/")}
        files |= {f"{_MODEL}/{path.name}": path for path in sorted(bundle.iterdir())
                  if path.is_file() and _wanted(Path(path.name))}  # fmt: skip
    files[CARD_FILE] = _readme(root, model_repo).encode()
    sizes = {
        name: len(file) if isinstance(file, bytes) else file.stat().st_size
        for name, file in files.items()
    }
    if (total := sum(sizes.values())) > MOST_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"the Space must have at most {MOST_BYTES / 1e6:.0f} MB, it would have "
            f"{total / 1e6:.1f}; the largest file is {largest} with {sizes[largest] / 1e6:.1f}"
        )
    return files


def _wanted(path: Path) -> bool:
    """Whether the app needs a file of its folders: no network to train, nothing made by the way."""
    return (
        path.parts[:2] != ("fer", "nn")
        and path.suffix not in (".keras", ".pyc", ".pyi")
        and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )


def _readme(root: Path, model_repo: str | None) -> str:
    requirements = (root / "requirements.txt").read_text(encoding="utf-8")
    pin = re.search(r"^gradio(?:\[\w+\])?==(\S+)", requirements, re.MULTILINE)
    if not pin:
        raise ValueError("requirements.txt must pin gradio==VERSION, which the Space runs on")
    model = re.split("[@/]", model_repo, maxsplit=2) if model_repo else None
    repo = "/".join(model[:2]) if model else None
    metadata = SpaceCardData(
        title="fer-edge",
        emoji="🙂",
        colorFrom="blue",
        colorTo="green",
        sdk="gradio",
        sdk_version=pin[1],
        python_version=_PYTHON,
        app_file="app.py",
        license="apache-2.0",
        short_description="Facial expressions with calibrated probabilities",
        models=[repo] if repo else None,
    )
    return _README.format(
        metadata=metadata.to_yaml(),
        model=f" The model: [{repo}](https://huggingface.co/{repo})." if repo else "",
        limits=LIMITS,
        responsible_use=RESPONSIBLE_USE,
    )


if __name__ == "__main__":
    run(_main, KEPT, leave=os._exit)  # a transfer that hangs holds nobody back

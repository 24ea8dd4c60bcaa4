"""What the training command lines share: data options and what they are checked for."""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from fer._files import write_json
from fer.nn import leaks
from fer.nn.dataset import Fer2013
from fer.nn.fit import TrainingError
from fer.nn.model import STARTS
from train import program
from train.program import new_parser as new_parser

# Looks for GPUs now, while the command that imports this keeps stderr silent.
tf.config.list_physical_devices()


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json`` and ``--plots``."""
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the figures here")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write PNG plots here")


def add_data_options(
    parser: argparse.ArgumentParser, *, required: bool = True, votes: bool = True
) -> None:
    """Adds ``--data`` and, unless votes are of no use, ``--votes``."""
    parser.add_argument(
        "--data",
        type=Path,
        required=required,
        metavar="PATH",
        help="fer2013.csv, the Kaggle folder, or a .zip of it",
    )
    if votes:
        parser.add_argument(
            "--votes",
            type=Path,
            metavar="CSV",
            help="FER+ votes: fer2013new.csv, or a table keyed by image names",
        )


def add_exclude_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--exclude``."""
    parser.add_argument(
        "--exclude",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="names of further images to leave out of training, one a line",
    )


def training_images(data: Fer2013, excluded: list[Path]) -> tuple[Fer2013, leaks.Audit]:
    """Returns the Training images that no test split holds, and what was found; prints counts.

    Args:
        data: The whole data.
        excluded: Files with names of further images to leave out.

    Raises:
        ValueError: If a file names no image, or a class has no image left.
    """
    audit = leaks.audit(data)
    whole = data.split("Training")
    drops = audit.training_drops()
    for path in excluded:
        names = leaks.read_names(path)
        found = len(names & set(whole.names.tolist()))
        if not found:
            raise ValueError(
                f"exclude: {path} names none of the training images, such as {whole.names[0]}"
            )
        print(f"{path} names {found} training images")
        drops |= names
    training = leaks.exclude(whole, drops)
    leaks.require_all_classes(training)
    print(
        f"training on {len(training)} of {len(whole)} images: the others are duplicates or excluded"
    )
    return training, audit


def fingerprint(path: Path) -> str:
    """Returns the SHA-256 of a file.

    Raises:
        ValueError: If there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be an existing file")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start_of(init: str) -> str:
    """Returns what names the start of a network in settings: a file by its content."""
    return init if init in STARTS else fingerprint(Path(init))


def check_settings(path: Path, settings: dict[str, object]) -> None:
    """Writes the settings of a long comparison, or checks that they are those it began with.

    Raises:
        ValueError: If the folder holds work that was done with other settings.
    """
    if not path.exists():
        write_json(path, settings)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    # Through JSON, where a tuple is a list.
    now = json.loads(json.dumps(settings))
    other = [name.replace("_", " ") for name in now if now[name] != before.get(name)]
    if other:
        raise ValueError(
            f"{path.parent} holds a comparison with other {', '.join(other)}: "
            "use the same options, or choose another --out"
        )


def run(main: Callable[[], None], kept: str = "") -> None:
    """Runs a command that trains or uses TensorFlow, see `train.program.run`."""
    program.run(main, kept, failures=(TrainingError,))

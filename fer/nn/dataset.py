"""FER2013 and FER+ votes, read strictly: one loader for every form the data comes in."""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer._files import replacing
from fer.labels import LABELS

SIDE = 48
"""Side of a FER2013 image in pixels."""

SPLITS: tuple[str, ...] = ("Training", "PublicTest", "PrivateTest")
"""The challenge's splits: for training, for choosing, for the final score."""

_CACHE_FORMAT = "1"
_CSV_HEADER = ["emotion", "pixels", "Usage"]
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_FERPLUS_COLUMNS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""FER+ columns in the order of `LABELS`; contempt, unknown and NF have no FER2013 class."""


class DatasetError(ValueError):
    """Data that is not what it must be: names the row or file and says what to do."""


@dataclass(frozen=True)
class Fer2013:
    """FER2013 images with their labels.

    Attributes:
        images: Shape (N, 48, 48), uint8.
        labels: Shape (N,), int64 indices into `LABELS`.
        splits: Shape (N,), strings from `SPLITS`.
        names: Shape (N,), strings: the file name, or ``fer0000000.png`` for the first row of
            ``fer2013.csv`` (FER+'s naming). Two names of the Kaggle release stand in two class
            folders, so a name is not always unique.
        votes: Shape (N, 7), float32: share of the FER+ votes for each class; a row of zeros
            where there is no usable vote.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    votes: NDArray[np.float32]

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Fer2013":
        """Returns the images for which ``keep``, of shape (N,), is true, or those it numbers."""
        fields = (field.name for field in dataclasses.fields(self))
        return Fer2013(**{name: getattr(self, name)[keep] for name in fields})

    def split(self, name: str) -> "Fer2013":
        """Returns the images of one split.

        Raises:
            DatasetError: If the data has no image of that split.
        """
        part = self.take(self.splits == name)
        if not len(part):
            raise DatasetError(
                f"split must be one of {sorted(set(self.splits.tolist()))} in this data, "
                f"received {name!r}"
            )
        return part

    def class_counts(self) -> dict[str, int]:
        """Returns the number of images per class, in the order of `LABELS`."""
        counts = np.bincount(self.labels, minlength=len(LABELS))
        return dict(zip(LABELS, counts.tolist(), strict=True))


def thinned(dataset: Fer2013, count: int) -> Fer2013:
    """Returns about ``count`` images spread evenly over the data, every class among them.

    Raises:
        ValueError: If the count is less than 1.
    """
    if count < 1:
        raise ValueError(f"images must be at least 1, received {count}")
    keep = np.zeros(len(dataset), bool)
    for label in range(len(LABELS)):
        where = np.flatnonzero(dataset.labels == label)
        share = math.ceil(count * len(where) / len(dataset))
        if len(where):
            keep[where[np.linspace(0, len(where) - 1, min(share, len(where))).astype(int)]] = True
    return dataset.take(keep)


def balanced(dataset: Fer2013, per_class: int, seed: int = 0) -> Fer2013:
    """Returns at most ``per_class`` random images of each class, in random order."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(dataset.labels == label))[:per_class]
        for label in range(len(LABELS))
    ]
    return dataset.take(rng.permutation(np.concatenate(chosen)))


def load(data: Path, *, votes: Path | None = None, cache: Path | None = None) -> Fer2013:
    """Reads FER2013 from any of its forms, checking every image.

    Args:
        data: ``fer2013.csv`` (header ``emotion,pixels,Usage``), the Kaggle folder
            (``train/<class>/*.jpg``, ``test/<class>/*.jpg``), or a .zip of that folder.
        votes: FER+ votes: the public ``fer2013new.csv``, keyed by the row order of
            ``fer2013.csv``, or a table with a column ``image`` that holds file names.
        cache: Directory for decoded arrays, keyed by the content of ``data``; by default
            ``$FER_CACHE_DIR`` or ``~/.cache/fer-edge``.

    Raises:
        DatasetError: If anything is missing or malformed.
    """
    reader, content = _open(data)
    cache = cache or Path(os.environ.get("FER_CACHE_DIR", Path.home() / ".cache" / "fer-edge"))
    cached = cache / f"fer2013-{_CACHE_FORMAT}-{content[:32]}.npz"
    dataset = _read_cache(cached)
    if dataset is None:
        dataset = _assemble(reader(), data)
        _save_cache(dataset, cached)
    return dataset if votes is None else _with_votes(dataset, votes)


@dataclass(frozen=True)
class _Row:
    where: str
    name: str
    split: str
    label: int
    pixels: NDArray[np.uint8]


_Reader = Callable[[], Iterator[_Row]]


def _open(data: Path) -> tuple[_Reader, str]:
    """Chooses the reader for ``data`` and hashes its content."""
    if data.is_dir():
        # os.walk and plain strings: a start reads 32,298 files here, and pathlib doubles its time.
        root = os.fspath(data)
        files = sorted(os.path.join(at, name) for at, _, names in os.walk(root) for name in names)  # noqa: PTH118
        digest = hashlib.sha256()
        for file in files:
            with open(file, "rb") as opened:  # noqa: PTH123
                encoded = opened.read()
            digest.update(f"{file[len(root) :]}\0{len(encoded)}\0".encode())
            digest.update(encoded)
        return lambda: _read_tree(files, lambda file: Path(file).read_bytes()), digest.hexdigest()
    try:
        content = hashlib.sha256(data.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"data must be fer2013.csv, the Kaggle folder or its .zip, received {data}: "
            f"{error.strerror}"
        ) from error
    if zipfile.is_zipfile(data):
        return lambda: _read_zip(data), content
    if data.suffix.lower() == ".csv":
        return lambda: _read_csv(data), content
    raise DatasetError(f"data must be fer2013.csv, the Kaggle folder or its .zip, received {data}")


def _read_csv(path: Path) -> Iterator[_Row]:
    csv.field_size_limit(1 << 20)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = _csv_rows(file, path)
        header = [name.strip() for name in next(rows, [])]
        if header != _CSV_HEADER:
            raise DatasetError(
                f"{path} row 1: header must be {','.join(_CSV_HEADER)}, "
                f"received {','.join(header)[:80]!r}"
            )
        for index, row in enumerate(rows):
            where = f"{path} row {index + 2}"
            if row == header:
                raise DatasetError(f"{where}: repeats the header; remove that row")
            if len(row) != len(header):
                raise DatasetError(f"{where}: must have 3 columns, received {len(row)}")
            emotion, pixels, usage = row
            if emotion not in {str(label) for label in range(len(LABELS))}:
                raise DatasetError(f"{where}: emotion must be 0 to 6, received {emotion[:20]!r}")
            yield _Row(
                where, f"fer{index:07d}.png", usage.strip(), int(emotion), _pixels(pixels, where)
            )


def _csv_rows(file: TextIO, path: Path) -> Iterator[list[str]]:
    rows = csv.reader(file)
    try:
        yield from rows
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} near row {rows.line_num + 1}: is not CSV ({error}); copy the file again"
        ) from error


def _pixels(text: str, where: str) -> NDArray[np.uint8]:
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: pixels must be whole numbers: {error}") from error
    if len(values) != SIDE * SIDE:
        raise DatasetError(
            f"{where}: must have {SIDE * SIDE} pixels (48 x 48), received {len(values)}; "
            "the row is cut or broken: copy the file again"
        )
    if values.min() < 0 or values.max() > 255:
        wrong = values.max() if values.max() > 255 else values.min()
        raise DatasetError(f"{where}: pixels must be 0 to 255, received {wrong}; mend the row")
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def _read_zip(path: Path) -> Iterator[_Row]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        yield from _read_tree(names, archive.read, prefix=f"{path}:")


def _read_tree(files: list[str], read: Callable[[str], bytes], prefix: str = "") -> Iterator[_Row]:
    """Reads ``.../{train,test}/<class>/<file>``, with whatever folder stands before."""
    for name in sorted(files):
        parts = PurePosixPath(name).parts
        where = f"{prefix}{name}"
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        if hidden or len(parts) < 3 or parts[-3] not in ("train", "test"):
            continue
        folder, label, file = parts[-3:]
        if label not in LABELS:
            raise DatasetError(
                f"{where}: class folder must be one of {list(LABELS)}, received {label!r}; "
                "rename or remove it"
            )
        if not file.lower().endswith(_IMAGE_SUFFIXES):
            raise DatasetError(f"{where}: must be a .jpg or .png image; remove it")
        split = file.split("_")[0] if "_" in file else ""
        if split not in SPLITS:
            if folder == "test":
                raise DatasetError(
                    f"{where}: a test image's name must start with PublicTest_ or PrivateTest_, "
                    "which are scored apart; use the release that keeps the official names"
                )
            split = "Training"
        pixels = _decode(functools.partial(read, name), where)
        yield _Row(where, file, split, LABELS.index(label), pixels)


def _decode(read: Callable[[], bytes], where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(read())) as image:
            pixels = np.asarray(image.convert("L"))
    except Exception as error:  # what zipfile and Pillow raise on damaged bytes is anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetError(f"{where}: cannot be decoded ({reason}); copy the file again") from error
    if pixels.shape != (SIDE, SIDE):
        raise DatasetError(
            f"{where}: must be 48 x 48 pixels, received {pixels.shape[1]} x {pixels.shape[0]}"
        )
    return pixels


def _assemble(rows: Iterator[_Row], data: Path) -> Fer2013:
    images, labels, splits, names = [], [], [], []
    for row in rows:
        if row.split not in SPLITS:
            raise DatasetError(
                f"{row.where}: Usage must be one of {list(SPLITS)}, received {row.split[:20]!r}"
            )
        images.append(row.pixels)
        labels.append(row.label)
        splits.append(row.split)
        names.append(row.name)
    if not images:
        raise DatasetError(
            f"{data} holds no image: expected rows, or train/<class>/*.jpg and test/<class>/*.jpg"
        )
    return Fer2013(
        np.stack(images),
        np.array(labels, np.int64),
        np.array(splits),
        np.array(names),
        np.zeros((len(labels), len(LABELS)), np.float32),
    )


def _read_cache(path: Path) -> Fer2013 | None:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Fer2013(**arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: it is made anew


def _save_cache(dataset: Fer2013, path: Path) -> None:
    # A disk that is full or read-only costs the next start some seconds, not this run.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(temporary, **dataclasses.asdict(dataset))


def _with_votes(dataset: Fer2013, path: Path) -> Fer2013:
    try:
        file = path.open(newline="", encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"votes: cannot read {path}: {error.strerror}") from error
    with file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        missing = [name for name in _FERPLUS_COLUMNS if name not in columns]
        if missing:
            raise DatasetError(f"{path} row 1: FER+ columns missing: {missing}")
        by_name = "image" in columns
        usage = next((name for name in columns if name.lower() == "usage"), None)
        splits = dict(zip(dataset.names.tolist(), dataset.splits.tolist(), strict=True))
        found: dict[str, NDArray[np.float32]] = {}
        for index, row in enumerate(rows):
            name = row["image"] if by_name else f"fer{index:07d}.png"
            try:
                counts = np.array([int(row[column]) for column in _FERPLUS_COLUMNS], np.float32)
            except (TypeError, ValueError) as error:
                raise DatasetError(
                    f"{path} row {index + 2}: votes must be whole numbers: {error}"
                ) from error
            if not by_name and usage and splits.get(name, row[usage]) != row[usage]:
                raise DatasetError(
                    f"votes: {path} row {index + 2} is of {row[usage]}, that row of the data of "
                    f"{splits[name]}; fer2013new.csv goes with the whole fer2013.csv, row by row"
                )
            if counts.min() < 0:
                raise DatasetError(f"{path} row {index + 2}: votes must be 0 or more")
            found[name] = counts / max(float(counts.sum()), 1.0)
    if not found.keys() & set(dataset.names.tolist()):
        raise DatasetError(
            f"votes: {path} names none of the images; fer2013new.csv goes with fer2013.csv, "
            "and a table with a column 'image' goes with the folder or .zip"
        )
    none = np.zeros(len(LABELS), np.float32)
    votes = np.stack([found.get(name, none) for name in dataset.names.tolist()])
    return dataclasses.replace(dataset, votes=votes)

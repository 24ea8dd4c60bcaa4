"""One zip for whoever writes an app: models, golden vectors, projects, licences, a guide."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from export import flatbuffer
from export.phone.page import detector_settings
from fer._files import replacing
from fer.faces import BLAZEFACE_FILE
from fer.runtime import MODEL_FILE
from fer.spec import ModelSpec
from fer.web.compare import VARIANTS

GUIDE = Path(__file__).parent / "handover.md"

_ROOT = Path(__file__).parents[2]
_LEFT_OUT = {"build", ".gradle", ".kotlin", ".idea", ".build", "local.properties"}
_MOVED = {
    b"../../../fer/assets/variants/": b"../models/",
    b"../../../fer/assets/faces/": b"../detector/",
}
"""Where the Android project finds its models: in the repository, and in the zip."""


def write(path: Path, bundle: Path, page: Path) -> None:
    """Writes the zip: the same files give the same bytes.

    Args:
        path: File to write.
        bundle: The app's model; the shipped variants go along.
        page: What `export.phone.page.replace` wrote.

    Raises:
        ValueError: If a bundle cannot be used.
    """
    entries = dict(_entries(bundle, page))
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name)  # has a fixed date
            entry.external_attr = 0o644 << 16  # a web server may read what is unpacked
            archive.writestr(entry, entries[name], zipfile.ZIP_DEFLATED, compresslevel=6)


def _entries(bundle: Path, page: Path) -> Iterator[tuple[str, bytes]]:
    spec = ModelSpec.load(bundle)
    bundles = {spec.variant: bundle}
    for other in sorted(VARIANTS.glob("*/spec.json")):
        bundles.setdefault(ModelSpec.load(other.parent).variant, other.parent)
    yield "README.md", _guide(spec).encode()
    for name in ("LICENSE", "NOTICE"):
        yield name, (_ROOT / name).read_bytes()
    for variant, folder in bundles.items():
        for file in _files(folder):
            if file.suffix != ".keras":  # for training, not for phones
                yield f"models/{variant}/{file.relative_to(folder).as_posix()}", file.read_bytes()
    yield f"detector/{BLAZEFACE_FILE.name}", BLAZEFACE_FILE.read_bytes()
    settings = json.dumps(detector_settings(), indent=1) + "\n"
    yield "detector/detector.json", settings.encode()
    yield from for_mediapipe(bundle, spec)
    projects = {"web": page, **{name: Path(__file__).parent / name for name in ("android", "ios")}}
    for name, folder in projects.items():
        for file in _files(folder):
            content = file.read_bytes()
            if file.name == "gradle.properties":
                for here, there in _MOVED.items():
                    content = content.replace(here, there)
            yield f"{name}/{file.relative_to(folder).as_posix()}", content


def for_mediapipe(bundle: Path, spec: ModelSpec) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of both networks as MediaPipe Tasks takes them.

    It needs metadata, and a classifier whose only output is probabilities.
    """
    yield (
        "mediapipe/face_detector.tflite",
        flatbuffer.with_detector_metadata(
            BLAZEFACE_FILE.read_bytes(),
            name="BlazeFace short-range",
            description="Google's, with this description added",
        ),
    )
    content = (bundle / MODEL_FILE).read_bytes()
    if "evidence" in flatbuffer.outputs(content):
        content = flatbuffer.without_output(content, "evidence")
    yield (
        "mediapipe/classifier.tflite",
        flatbuffer.with_metadata(
            content, name=f"{spec.name}, {spec.variant}", description="Expression of a square crop"
        ),
    )


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _LEFT_OUT & set(path.relative_to(folder).parts):
            yield path


def _guide(spec: ModelSpec) -> str:
    return GUIDE.read_text(encoding="utf-8").format(
        spec=spec, labels=", ".join(spec.labels), count=len(spec.labels)
    )

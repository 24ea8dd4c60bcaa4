"""Replays a bundle's golden vectors: ``python -m export.verify BUNDLE``. Needs no TensorFlow."""

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from export.bundle import MANIFEST_FILE
from export.golden import GOLDEN_FILE
from fer.runtime import MODEL_FILE, TileClassifier
from fer.spec import ModelSpec

EPILOG = """examples:
  python -m export.verify exported/mixed_int8
  python -m export.verify exported/mixed_int8 --json

exit status: 0 all agree, 1 a file or an answer differs, 2 this is no bundle
"""


@dataclass(frozen=True)
class Verified:
    """How a bundle's model answers its golden vectors here.

    Attributes:
        differences: Largest difference of a probability, by golden tile.
        tolerance: The largest difference that is allowed.
        changed: Files that are not what the manifest says.
    """

    differences: dict[str, float]
    tolerance: float
    changed: list[str]

    @property
    def faults(self) -> list[str]:
        """What is wrong, a line each."""
        return [f"{name} is missing or was changed" for name in self.changed] + [
            f"{name}: a probability differs by {difference:.2g} (at most {self.tolerance:g})"
            for name, difference in self.differences.items()
            if not difference <= self.tolerance
        ]


def verify(bundle: Path) -> Verified:
    """Compares a bundle's files with its manifest and its model's answers with its vectors.

    Raises:
        ValueError: If the folder is no bundle.
    """
    try:
        manifest = json.loads((bundle / MANIFEST_FILE).read_text(encoding="utf-8"))
        golden = json.loads((bundle / "golden" / GOLDEN_FILE).read_text(encoding="utf-8"))
        promised = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        expected = {name: np.array(row) for name, row in golden["probabilities"].items()}
        tolerance = float(golden["tolerance"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"BUNDLE must be a bundle of python -m export: {error}") from error
    changed = [
        name
        for name, promise in promised.items()
        if not (bundle / name).is_file()
        or hashlib.sha256((bundle / name).read_bytes()).hexdigest() != promise
    ]
    if any(name.endswith((".png", MODEL_FILE, "spec.json")) for name in changed):
        return Verified({}, tolerance, changed)
    if not expected or any(f"golden/{name}.png" not in promised for name in expected):
        raise ValueError(f"BUNDLE must have golden tiles and their answers, received {bundle}")
    classifier = TileClassifier.from_bundle(bundle, ModelSpec.load(bundle))
    differences = {}
    for name, row in expected.items():
        with Image.open(bundle / "golden" / f"{name}.png") as picture:
            tile = np.asarray(picture.convert("RGB"), np.float32)
        answer = classifier.predict(tile[None]).probabilities[0]
        differences[name] = float(np.abs(answer - row).max())
    return Verified(differences, tolerance, changed)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.verify",
        description="Check a bundle's files against its manifest, and its model's answers to the "
        "golden tiles against those it was shipped with.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        result = verify(options.bundle)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({**asdict(result), "faults": result.faults}, indent=2))
    else:
        for name, difference in result.differences.items():
            print(f"{name:<18} {difference:.2g}")
        agree = sum(value <= result.tolerance for value in result.differences.values())
        print(f"{agree} of {len(result.differences)} golden tiles within {result.tolerance:g}")
    for fault in result.faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(_main())

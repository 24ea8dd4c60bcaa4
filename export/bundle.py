"""A bundle: one exported variant with everything a host needs, written whole or not at all."""

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export import card, golden
from export.flatbuffer import LABELS_FILE
from export.parity import Parity
from export.recipes import Variant
from fer._files import write_json
from fer.labels import LABELS
from fer.metrics import Accuracy
from fer.runtime import MODEL_FILE
from fer.spec import FER2013_CROP, TRUTHS, Calibration, ModelSpec

CHECKPOINT_FILE = "model.keras"
MANIFEST_FILE = "manifest.json"

PREPROCESSING = (
    "Crop a square around the face (spec.json: crop.scale times the longer side of the face box, "
    "shifted by crop.offset_y of the square), resize it to {size} x {size} (area when shrinking, "
    "bilinear with half-pixel centres when enlarging), and pass its RGB values, 0 to 255, as "
    "{input}. Nothing else: grey conversion and normalisation are in the graph."
)

_LICENCES = tuple(Path(__file__).parents[1] / name for name in ("LICENSE", "NOTICE"))

CARD = """# {name}, {variant}, view `{view}`

Recognises the expression of one face: {labels}. EfficientNetB0 trained on FER2013{votes}.
Input: one square RGB face crop, {size} x {size}, values 0 to 255; grey
conversion and normalisation are inside the graph. How to crop: `spec.json`.

## Measured

On FER2013's {split} ({n} images, not trained on; it chose the epoch and fitted the temperature),
without test-time averaging. Images that also stand in Training are out of the training set.

| label view | accuracy | 95% interval |
|---|---|---|
{accuracies}

Expected calibration error, on the half of {split} that did not fit the temperature, where a
confidence is the probability of {truth}: {calibration.ece_before:.3f} before,
{calibration.ece_after:.3f} after (temperature {calibration.temperature:.2f}). Below a confidence of
{calibration.uncertain_below:.2f} the top label was wrong at least as often as right: such a result
is called uncertain.

This file against the Keras model, on the same {parity.tiles} images, view `{view}`: accuracy
{parity.accuracy.value:.2%}, a drop of {parity.drop:.2f} points; largest probability difference
{parity.max_difference:.2g}, mean {parity.mean_difference:.2g}, same label on
{parity.agreement:.2%}.

{limits}

## Responsible use

{responsible_use}

{licence}
"""


@dataclass(frozen=True)
class Measured:
    """What was measured of the checkpoint, for the model card.

    Attributes:
        split: Split of FER2013.
        accuracy: Accuracy per label view.
        calibration: Calibration of the exported view.
        checkpoint: SHA-256 of the checkpoint, hexadecimal.
    """

    split: str
    accuracy: dict[str, Accuracy]
    calibration: Calibration
    checkpoint: str


def write(
    folder: Path,
    *,
    content: bytes,
    size: int,
    predict: golden.Predict,
    variant: Variant,
    view: str,
    measured: Measured,
    parity: Parity,
    checkpoint: Path | None = None,
) -> ModelSpec:
    """Writes a bundle into an empty folder.

    Args:
        folder: Folder to fill; made here.
        content: The ``.tflite`` file.
        size: T, the side of its tile.
        predict: Probabilities of the model it was made from, for the golden tiles.
        variant: The export variant.
        view: Label view that is folded in.
        measured: Accuracy and calibration.
        parity: Result of the parity check.
        checkpoint: ``.keras`` file to put beside it, for retraining; None for none.

    Returns:
        The spec that was written.
    """
    folder.mkdir(parents=True)
    file = folder / MODEL_FILE
    file.write_bytes(content)
    spec = ModelSpec(
        name="fer-edge EfficientNetB0",
        variant=variant.name,
        view=view,
        tile_size=size,
        crop=FER2013_CROP,
        calibration=measured.calibration,
        model_sha256=hashlib.sha256(content).hexdigest(),
    )
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    (folder / LABELS_FILE).write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(_card(spec, measured, parity), encoding="utf-8")
    golden.write(folder / "golden", file, size, predict, variant.promise.tolerance)
    for licence in _LICENCES:
        shutil.copyfile(licence, folder / licence.name)
    if checkpoint:
        shutil.copyfile(checkpoint, folder / CHECKPOINT_FILE)
    manifest: dict[str, Any] = {
        "variant": asdict(variant),
        "checkpoint_sha256": measured.checkpoint,
        "tensors": tensors(file),
        "preprocessing": PREPROCESSING.format(size=size, input=variant.promise.input_type),
        "split": measured.split,
        "accuracy": {view: asdict(value) for view, value in measured.accuracy.items()},
        "parity": parity.to_dict(),
    }
    manifest["files"] = {
        file.relative_to(folder).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    write_json(folder / MANIFEST_FILE, manifest)
    return spec


def tensors(file: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns shape, type, scale and zero point of a file's inputs and outputs."""
    runner = Interpreter(model_path=str(file)).get_signature_runner("serving_default")
    ends = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
    return {
        end: {
            name: {
                "shape": [int(side) for side in tensor["shape"]],
                "dtype": np.dtype(tensor["dtype"]).name,
                "scale": float(tensor["quantization"][0]),
                "zero_point": int(tensor["quantization"][1]),
            }
            for name, tensor in details.items()
        }
        for end, details in ends.items()
    }


def _card(spec: ModelSpec, measured: Measured, parity: Parity) -> str:
    rows = [
        f"| {view} | {value.value:.2%} | {100 * value.low:.2f} to {100 * value.high:.2f} |"
        for view, value in measured.accuracy.items()
    ]
    return CARD.format(
        name=spec.name,
        variant=spec.variant,
        view=spec.view,
        labels=", ".join(LABELS),
        size=spec.tile_size,
        split=measured.split,
        n=next(iter(measured.accuracy.values())).n,
        accuracies="\n".join(rows),
        calibration=measured.calibration,
        votes=" with FER+ votes as a second head" * ("ferplus" in measured.accuracy),
        limits=card.LIMITS,
        responsible_use=card.RESPONSIBLE_USE,
        licence=card.LICENCE.format(
            votes_licence=card.VOTES_LICENCE * ("ferplus" in measured.accuracy)
        ),
        truth=TRUTHS[measured.calibration.truth],
        parity=parity,
    )

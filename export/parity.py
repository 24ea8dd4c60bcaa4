"""The parity gate: an exported file that breaks a promise of its variant is not written."""

import gzip
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from export import flatbuffer
from export.recipes import ANYTHING, Promise, Variant
from fer.metrics import Accuracy, Truth, calibration_error, classify, confusion_matrix, softmax
from fer.runtime import Predictions, TileClassifier

WEIGHTS_SHARE = 0.95
"""Share of a file's constants that must have the promised type; the rest are mostly biases."""

_MOVING = {"QUANTIZE", "DEQUANTIZE", "RESHAPE"}
_VARIABLES = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
_PROBABILITY = (1 / 256, 0)
_EVIDENCE_ERROR = {"float32": 1e-3, "int8": 0.1}


class ParityError(RuntimeError):
    """An exported file that broke a promise of its variant."""


@dataclass(frozen=True)
class Reference:
    """What an exported file is compared with.

    Attributes:
        tiles: Shape (N, T, T, 3), float32 in [0, 255].
        labels: Shape (N,), indices of the true classes.
        probabilities: The Keras model's, shape (N, 7).
        evidence: The Keras model's, shape (N, h, w, 7).
        truth: What a confidence is the probability of, see `fer.metrics.Truth`.
    """

    tiles: NDArray[np.float32]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    evidence: NDArray[np.float32]
    truth: Truth

    @property
    def accuracy(self) -> float:
        """The Keras model's accuracy, in [0, 1]."""
        return float(np.mean(self.probabilities.argmax(axis=1) == self.labels))


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with the Keras model.

    Attributes:
        tiles: Number of tiles compared.
        max_difference: Largest difference of any probability.
        mean_difference: Mean difference of the probabilities.
        agreement: Share of tiles with the same top label, in [0, 1].
        accuracy: The file's accuracy.
        confusion: 7 rows (true class) of 7 counts (the file's answer).
        macro_f1: Mean of its classes' F1, in [0, 1].
        drop: The Keras model's accuracy less the file's, in percentage points.
        calibration_error: Expected calibration error of the file, in [0, 1].
        calibration_loss: The same less the Keras model's.
        evidence_error: Largest difference between the file's probabilities and the softmax of
            its own averaged evidence map; None without one.
        evidence_correlation: Of its evidence maps with the Keras model's, each number as far from
            its mean over the tiles as it usually is: one strong cell must not hide the others.
            None without one.
        bytes: Size of the file.
        operators: How many operators of each kind and output type it has.
    """

    tiles: int
    max_difference: float
    mean_difference: float
    agreement: float
    accuracy: Accuracy
    confusion: list[list[int]]
    macro_f1: float
    drop: float
    calibration_error: float
    calibration_loss: float
    evidence_error: float | None
    evidence_correlation: float | None
    bytes: int
    operators: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


@np.errstate(all="ignore")  # a broken file's numbers may be anything
def check(exported: Path, reference: Reference, variant: Variant) -> Parity:
    """Compares an exported file with the Keras model and with what its variant promises.

    Args:
        exported: The ``.tflite`` file.
        reference: Tiles, labels, and the Keras model's answers.
        variant: The variant.

    Raises:
        ParityError: Naming every promise that the file broke.
    """
    promise = variant.promise
    broken: list[str] = []
    try:
        broken += _graph_faults(exported, promise)
        answer = _predict(exported, reference.tiles)
    except Exception as error:  # whatever a spoiled file makes its readers raise
        broken.append(f"cannot run: {error}")
        raise ParityError(f"{variant.name}: " + "; ".join(broken)) from error
    found = answer.probabilities
    difference = np.abs(found - reference.probabilities)
    predicted = found.argmax(axis=1)
    right = predicted == reference.labels
    finite = np.isfinite(found).all()
    error, before = (
        calibration_error(answers, reference.truth)[0] if np.isfinite(answers).all() else np.nan
        for answers in (found, reference.probabilities)
    )
    evidence_error = evidence_correlation = None
    if answer.evidence.size:
        rebuilt = softmax(answer.evidence.mean(axis=(1, 2)))
        evidence_error = float(np.abs(rebuilt - found).max())
        if answer.evidence.shape == reference.evidence.shape:
            both = (_standardised(maps) for maps in (answer.evidence, reference.evidence))
            evidence_correlation = float(np.corrcoef(*both)[0, 1])
    parity = Parity(
        tiles=len(reference.tiles),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float(np.mean(predicted == reference.probabilities.argmax(axis=1))),
        accuracy=Accuracy.of(right),
        confusion=confusion_matrix(predicted, reference.labels).tolist(),
        macro_f1=classify(found, reference.labels).macro.f1 if finite else np.nan,
        drop=100 * (reference.accuracy - float(right.mean())),
        calibration_error=error,
        calibration_loss=error - before,
        evidence_error=evidence_error,
        evidence_correlation=evidence_correlation,
        bytes=exported.stat().st_size,
        operators=dict(_operators(exported)),
    )
    broken += _answer_faults(parity, promise)
    if broken:
        raise ParityError(f"{variant.name}: " + "; ".join(broken))
    return parity


def _predict(exported: Path, tiles: NDArray[np.float32]) -> Predictions:
    # An interpreter a core: some kernels, those of 16 bits among them, know no threads.
    parts = np.array_split(tiles, min(len(tiles), os.cpu_count() or 1))
    with ThreadPoolExecutor(len(parts)) as pool:
        answers = list(pool.map(lambda part: TileClassifier(exported).predict(part), parts))
    return Predictions(
        np.concatenate([answer.probabilities for answer in answers]),
        np.concatenate([answer.evidence for answer in answers]),
    )


def _standardised(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = maps.astype(np.float64)
    centred = wide - wide.mean(axis=0)
    return (centred / (centred.std(axis=0) + 1e-6)).ravel()


def _answer_faults(parity: Parity, promise: Promise) -> Iterator[str]:
    # Written so that NaN breaks every promise.
    if not parity.max_difference <= promise.max_difference:
        yield (
            f"largest probability difference {parity.max_difference:.2g} "
            f"(at most {promise.max_difference:g})"
        )
    if not parity.mean_difference <= promise.mean_difference:
        yield (
            f"mean probability difference {parity.mean_difference:.2g} "
            f"(at most {promise.mean_difference:g})"
        )
    if not parity.agreement >= promise.min_agreement:
        yield f"label agreement {parity.agreement:.2%} (at least {promise.min_agreement:.0%})"
    if not parity.drop <= promise.max_drop:
        yield f"accuracy drop {parity.drop:.2f} points (at most {promise.max_drop:g})"
    if not parity.calibration_loss <= promise.max_calibration_loss:
        yield (
            f"calibration error {parity.calibration_loss:.3f} above the Keras model's "
            f"(at most {promise.max_calibration_loss:g})"
        )
    if promise.evidence:
        bound = _EVIDENCE_ERROR["float32" if promise.float_layers == ANYTHING else "int8"]
        if parity.evidence_error is None:
            yield "the evidence map is missing"
        elif not parity.evidence_error <= bound:
            yield f"evidence map does not add up: off by {parity.evidence_error:.2g}"
        elif parity.evidence_correlation is None:
            yield "the evidence map has another shape"
        elif not parity.evidence_correlation >= promise.min_evidence_correlation:
            yield (
                f"evidence map correlates {parity.evidence_correlation:.3f} with the Keras model's "
                f"(at least {promise.min_evidence_correlation:g})"
            )
    elif parity.evidence_error is not None:
        yield "an evidence map that was not promised"


def _graph_faults(exported: Path, promise: Promise) -> Iterator[str]:
    content = exported.read_bytes()
    if foreign := flatbuffer.custom_operators(content):
        yield f"needs operators outside LiteRT's own ({', '.join(foreign)})"
    interpreter = Interpreter(model_content=content)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()  # there is no public listing
    names = {operator["op_name"] for operator in operators}
    if variables := names & _VARIABLES:
        yield f"weights are not frozen into the file ({', '.join(sorted(variables))})"
    restores = "DEQUANTIZE" in names
    if promise.float_layers == ANYTHING and promise.weights == "int8":
        if restores and promise.activations == "int8":
            yield "restores its weights where it should quantize as it goes"
        if not restores and promise.activations == "float32":
            yield "quantizes as it goes where it should restore its weights"
    stray = Counter(
        f"{operator['op_name']} in {found}"
        for operator in operators
        if operator["op_name"] not in _MOVING
        for output in operator["outputs"]
        if (found := np.dtype(tensors[output]["dtype"]).name)
        != _promised_type(tensors[output]["name"], promise)
    )
    if stray:
        yield f"computes otherwise than promised ({_listed(stray)})"
    counts = flatbuffer.constants(content)
    share = counts[promise.weights] / max(1, counts.total())
    if not share >= WEIGHTS_SHARE:
        yield (
            f"{share:.0%} of the constants are {promise.weights} (at least {WEIGHTS_SHARE:.0%}; "
            f"found {_listed(counts)})"
        )
    low, high = promise.megabytes
    if not low <= (size := len(content) / 1e6) <= high:
        yield f"{size:.2f} MB (from {low:g} to {high:g})"
    most = promise.gzip_megabytes
    if most and not (size := len(gzip.compress(content)) / 1e6) <= most:
        yield f"{size:.2f} MB compressed (at most {most:g})"
    yield from _boundary_faults(interpreter, promise)


def _promised_type(layer: str, promise: Promise) -> str:
    return "float32" if re.search(promise.float_layers, layer) else promise.activations


def _boundary_faults(interpreter: Interpreter, promise: Promise) -> Iterator[str]:
    runner = interpreter.get_signature_runner("serving_default")
    ends = [("input", promise.input_type, runner.get_input_details())]
    ends.append(("output", promise.output_type, runner.get_output_details()))
    for end, promised, details in ends:
        for name, tensor in details.items():
            if (found := np.dtype(tensor["dtype"]).name) != promised:
                yield f"{end} {name} is {found} ({promised})"
            if (end, found) == ("output", "uint8") and tensor["quantization"] != _PROBABILITY:
                yield f"output {name} has {tensor['quantization']} (scale 1/256, zero point 0)"
    image = runner.get_input_details().get("image")
    if image is None:
        yield "there is no input named image"
    elif promise.input_type != "float32" and image["quantization"] != (1.0, 0):
        yield f"input scale and zero point are {image['quantization']} (1 and 0)"


def _operators(exported: Path) -> Counter[str]:
    interpreter = Interpreter(model_path=str(exported))
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    return Counter(
        f"{operator['op_name']} {np.dtype(tensors[operator['outputs'][0]]['dtype']).name}"
        for operator in interpreter._get_ops_details()
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())

"""The parity check: an exported file that does not answer like the Keras model is not written."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from export.recipes import Variant
from fer.metrics import softmax
from fer.runtime import TileClassifier


class ParityError(RuntimeError):
    """An exported file that broke a promise of its variant."""


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with the Keras model.

    Attributes:
        tiles: Number of tiles compared.
        max_difference: Largest difference of any probability.
        mean_difference: Mean difference of the probabilities.
        agreement: Share of tiles with the same top label, in [0, 1].
        evidence_error: Largest difference between the file's probabilities and the softmax of
            its own averaged evidence map.
    """

    tiles: int
    max_difference: float
    mean_difference: float
    agreement: float
    evidence_error: float

    def to_dict(self) -> dict[str, float]:
        """Returns plain values for JSON."""
        return asdict(self)


def check(
    exported: Path, model: keras.Model, tiles: NDArray[np.float32], variant: Variant
) -> Parity:
    """Compares an exported file with the Keras model on real tiles.

    Args:
        exported: The ``.tflite`` file.
        model: The inference model it was made from.
        tiles: Shape (N, T, T, 3), float32 in [0, 255].
        variant: What the file promises.

    Raises:
        ParityError: Naming every promise that the file broke.
    """
    broken: list[str] = []
    try:
        broken += _graph_faults(exported)
        answer = TileClassifier(exported, threads=2).predict(tiles)
    except (ValueError, RuntimeError) as error:
        broken.append(f"cannot run: {error}")
        raise ParityError(f"{variant.name}: " + "; ".join(broken)) from error
    expected = model.predict(tiles, batch_size=64, verbose=0)["probabilities"]
    difference = np.abs(answer.probabilities - expected)
    rebuilt = softmax(answer.evidence.mean(axis=(1, 2)))
    parity = Parity(
        tiles=len(tiles),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float(np.mean(answer.probabilities.argmax(1) == expected.argmax(1))),
        evidence_error=float(np.abs(rebuilt - answer.probabilities).max()),
    )
    if not parity.max_difference <= variant.max_difference:
        broken.append(
            f"largest probability difference {parity.max_difference:.2g} "
            f"(at most {variant.max_difference:g})"
        )
    if not parity.agreement >= variant.min_agreement:
        broken.append(
            f"label agreement {parity.agreement:.2%} (at least {variant.min_agreement:.0%})"
        )
    if not parity.evidence_error <= 1e-3:
        broken.append(f"evidence map does not add up: off by {parity.evidence_error:.2g}")
    if broken:
        raise ParityError(f"{variant.name}: " + "; ".join(broken))
    return parity


def _graph_faults(exported: Path) -> list[str]:
    """Finds operators that phones cannot run, or weights that were left out of the file."""
    interpreter = Interpreter(model_path=str(exported))
    operators = {op["op_name"] for op in interpreter._get_ops_details()}  # no public listing
    faults = []
    if variables := operators & {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}:
        faults.append(f"weights are not frozen into the file ({', '.join(sorted(variables))})")
    if flex := {name for name in operators if name.startswith("Flex") or name == "CUSTOM"}:
        faults.append(f"needs operators outside LiteRT's own ({', '.join(sorted(flex))})")
    return faults

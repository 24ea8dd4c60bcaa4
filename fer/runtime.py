"""The exported classifier on LiteRT."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fer._pool import Pool, cores
from fer.spec import ModelSpec, SpecError

MODEL_FILE = "model.tflite"


@dataclass(frozen=True)
class Predictions:
    """What the network says of N tiles.

    Attributes:
        probabilities: Shape (N, 7), float32, rows sum to 1, in the order of `fer.labels.LABELS`.
        evidence: Shape (N, h, w, 7), float32 logits; averaged over h and w they are the logits
            whose softmax is ``probabilities`` (class activation maps, Zhou et al. 2016). Shape
            (N, 0, 0, 7) from a file that has no such output.
    """

    probabilities: NDArray[np.float32]
    evidence: NDArray[np.float32]


class TileClassifier:
    """A ``.tflite`` exported by this project. Safe to share between threads.

    There are as many interpreters as the processor can keep busy, so that visitors, and the tiles
    of one visitor, are read at the same time.
    """

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        """Loads the model.

        Args:
            model: The ``.tflite`` file.
            threads: CPU threads of one inference, at least 1.

        Raises:
            ValueError: If the file is not a model exported by this project.
        """
        content = model.read_bytes()

        def runner() -> Any:
            interpreter = Interpreter(model_content=content, num_threads=threads)
            return interpreter.get_signature_runner("serving_default")

        at_once = max(1, cores() // threads)
        try:
            self._runners = Pool(runner, at_once)
            with self._runners.lend() as run:
                self._input = run.get_input_details()["image"]
                self._outputs = run.get_output_details()
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"{model} is not a model exported by this project: {error}") from error
        if not {"probabilities"} <= set(self._outputs) <= {"probabilities", "evidence"}:
            raise ValueError(
                f"{model}: outputs must be probabilities and perhaps evidence, received "
                f"{sorted(self._outputs)}"
            )
        self._workers = ThreadPoolExecutor(at_once, thread_name_prefix="tiles")
        self.tile_size = int(self._input["shape"][1])

    @classmethod
    def from_bundle(cls, bundle: Path, spec: ModelSpec, *, threads: int = 1) -> "TileClassifier":
        """Loads a bundle's model after checking it against the bundle's spec.

        Raises:
            SpecError: If the file's hash or input size is not what the spec says.
        """
        path = bundle / MODEL_FILE
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise SpecError(f"no readable {MODEL_FILE} in {bundle}: {error.strerror}") from error
        if found != spec.model_sha256:
            raise SpecError(
                f"{path} does not belong to its spec.json: SHA-256 must be "
                f"{spec.model_sha256[:12]}..., received {found[:12]}...; copy the bundle again"
            )
        classifier = cls(path, threads=threads)
        if classifier.tile_size != spec.tile_size:
            raise SpecError(
                f"{path}: tile_size must be {spec.tile_size}, received {classifier.tile_size}"
            )
        return classifier

    def predict(self, tiles: NDArray[np.float32]) -> Predictions:
        """Classifies tiles one by one, so that a face's result never depends on its company.

        Args:
            tiles: Shape (N, T, T, 3), float32 in [0, 255]; N may be 0.

        Returns:
            Arrays whose first axis is always N.

        Raises:
            ValueError: If the tiles have another shape or dtype, or are not finite.
        """
        expected = (self.tile_size, self.tile_size, 3)
        if tiles.ndim != 4 or tiles.shape[1:] != expected or tiles.dtype != np.float32:
            raise ValueError(
                f"tiles must be float32 of shape (N, {expected[0]}, {expected[1]}, 3), "
                f"received {tiles.dtype} of shape {tiles.shape}"
            )
        if not np.isfinite(tiles).all():
            raise ValueError("tiles must be finite numbers in [0, 255], received NaN or infinity")
        # A single face, which is what most photos hold, is not worth a change of thread.
        apply = map if len(tiles) == 1 else self._workers.map
        results = list(apply(self._classify, tiles[:, None]))
        if not results:
            return Predictions(np.zeros((0, 7), np.float32), np.zeros((0, 0, 0, 7), np.float32))
        return Predictions(
            np.concatenate([result.probabilities for result in results]),
            np.concatenate([result.evidence for result in results]),
        )

    def _classify(self, tile: NDArray[np.float32]) -> Predictions:
        with self._runners.lend() as run:
            stored = run(image=_stored(tile, self._input))
        answer = {name: _real(values, self._outputs[name]) for name, values in stored.items()}
        probabilities = answer["probabilities"]
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # 8 bits round the sum off
        return Predictions(
            probabilities, answer.get("evidence", np.zeros((1, 0, 0, 7), np.float32))
        )


def _stored(values: NDArray[np.float32], tensor: dict[str, Any]) -> NDArray[Any]:
    """Returns values as a tensor stores them: as they are, or as scaled integers."""
    if tensor["dtype"] == np.float32:
        return values
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    stored = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
    return np.asarray(stored, tensor["dtype"])


def _real(stored: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    """Returns the values that a tensor stores."""
    if tensor["dtype"] == np.float32:
        return stored
    scale, zero = tensor["quantization"]
    return np.asarray((stored.astype(np.float32) - zero) * scale, np.float32)

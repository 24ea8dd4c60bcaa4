"""Builds one variant: ``python -m export.build JOB VARIANT``, a process of its own.

The converter keeps memory from one conversion to the next, and tfmot switches TensorFlow to
Keras 2; neither survives its process. `python -m export` writes the job and reads the file.
"""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from fer._stderr import silent_stderr

with silent_stderr():
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from export import flatbuffer
    from export.recipes import VARIANTS, Converted, PostTraining, Promise, Retrained, Variant
    from fer.nn import model as models
    from fer.nn.convert import convert

FLOAT32 = "float32.tflite"

_NAME = "fer-edge"
_SETTINGS, _CALIBRATION, _TRAINING = "job.json", "calibration.npz", "training.npz"
_WEIGHT_ONLY = PostTraining("weight_only_wi8_afp32")


@dataclass(frozen=True)
class Job:
    """What every variant of one export is made from.

    Attributes:
        folder: Folder of the job; variants are written there as ``<variant>.tflite``.
        checkpoint: The ``.keras`` checkpoint.
        view: Label view to fold in.
        temperature: Calibration temperature to fold in.
    """

    folder: Path
    checkpoint: Path
    view: str
    temperature: float

    def write(
        self,
        calibration: NDArray[np.float32],
        training: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None,
    ) -> None:
        """Writes the job.

        Args:
            calibration: Representative tiles, shape (N, T, T, 3), in [0, 255].
            training: For variants that are trained: tiles, shape (M, T, T, 3), and the model's
                probabilities of them, shape (M, 7).
        """
        values = {**dataclasses.asdict(self), "checkpoint": str(self.checkpoint.resolve())}
        del values["folder"]
        np.savez(self.folder / _CALIBRATION, tiles=calibration)
        if training:
            np.savez(self.folder / _TRAINING, tiles=training[0], targets=training[1])
        (self.folder / _SETTINGS).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """Reads what `write` wrote."""
        values = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        values["checkpoint"] = Path(values["checkpoint"])
        return cls(folder, **values)

    def model(self) -> keras.Model:
        """Returns the inference model."""
        checkpoint = models.load_checkpoint(self.checkpoint)
        return models.inference_model(checkpoint, self.view, self.temperature)

    def calibration(self) -> NDArray[np.float32]:
        """Returns the representative tiles, shape (N, T, T, 3), in [0, 255]."""
        with np.load(self.folder / _CALIBRATION, allow_pickle=False) as calibration:
            return np.asarray(calibration["tiles"], np.float32)


def build(job: Job, variant: Variant) -> bytes:
    """Makes a variant's file."""
    method, promise = variant.method, variant.promise
    if isinstance(method, Converted):
        content = _converted(job, method)
    elif isinstance(method, Retrained):
        content = _retrained(job, method, promise)
    else:
        from export.quantize import quantize

        content = (job.folder / FLOAT32).read_bytes()
        content = quantize(content, method, promise, job.calibration())
        if not promise.evidence:
            content = flatbuffer.without_output(content, "evidence")
        if promise.input_type == "uint8":
            content = flatbuffer.with_integer_io(content)
    return flatbuffer.with_metadata(
        content,
        name=f"{_NAME}, {variant.name}",
        description=f"Facial expression of a square face crop; {variant.description}. "
        f"Label view {job.view}.",
    )


def _converted(job: Job, method: Converted) -> bytes:
    if method.mode == "int8":
        tiles = job.calibration()
        return convert(job.model(), representative=tiles)
    return convert(job.model(), float16=method.mode == "float16")


def _retrained(job: Job, method: Retrained, promise: Promise) -> bytes:
    from export.quantize import quantize
    from export.retrain import retrain

    keras.utils.set_random_seed(0)
    with np.load(job.folder / _TRAINING, allow_pickle=False) as training:
        content = retrain(job.model(), method, training["tiles"], training["targets"])
    if method.quantize:
        return content
    return quantize(content, _WEIGHT_ONLY, promise, job.calibration())


def _main() -> None:
    folder, name = sys.argv[1:]
    job = Job.read(Path(folder))
    (job.folder / f"{name}.tflite").write_bytes(build(job, VARIANTS[name]))


if __name__ == "__main__":
    _main()

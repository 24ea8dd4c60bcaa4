"""What a model expects and how its scores are calibrated: the ``spec.json`` beside every model."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from fer.labels import LABELS

SPEC_VERSION = 1
VIEWS: tuple[str, ...] = ("fer2013", "ferplus", "blend")
"""Label views: FER2013's single labels, FER+'s votes, or a weighted mean of both heads' logits
(`fer.nn.model.VIEW_WEIGHTS`)."""

TRUTHS: dict[str, str] = {
    "labels": "FER2013's label",
    "votes": "the answer of a person (one of the ten whom FER+ asked about each image)",
}
"""What a calibrated confidence is the probability of."""


class SpecError(ValueError):
    """A spec that is missing, unreadable, or made for another version of this library."""


@dataclass(frozen=True)
class CropSpec:
    """How a face box becomes a square crop framed like a FER2013 image.

    Attributes:
        scale: Side of the square, as a multiple of the longer side of the face box.
        offset_y: Shift of the square's centre from the box's centre, as a fraction of the
            square's side; negative is up.
    """

    scale: float
    offset_y: float


FER2013_CROP = CropSpec(scale=1.07, offset_y=-0.09)
"""FER2013's own framing: ``python -m train.framing`` measures it with the shipped detector, and of
its neighbours this one served real photos best (docs/training.md)."""


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities can be believed, measured on held-out images.

    Attributes:
        temperature: Divisor of the logits, already folded into the exported model.
        ece_before: Expected calibration error at temperature 1, in [0, 1].
        ece_after: Expected calibration error at ``temperature``, on images not used to fit it.
        uncertain_below: Confidence in [0, 1] under which a result is called uncertain: there,
            the top label was wrong more often than right.
        truth: One of `TRUTHS`.
    """

    temperature: float
    ece_before: float
    ece_after: float
    uncertain_below: float
    truth: str = "labels"


@dataclass(frozen=True)
class ModelSpec:
    """Everything a host needs to know to use a ``model.tflite``.

    Attributes:
        name: Name of the model.
        variant: Export variant, such as ``float16``.
        view: One of `VIEWS`.
        tile_size: Side of the square input in pixels.
        crop: Framing of the face crop.
        calibration: Calibration of the probabilities.
        model_sha256: SHA-256 of the model file, hexadecimal.
        labels: Class names in output order; always `fer.labels.LABELS`.
        spec_version: Version of this format.
    """

    name: str
    variant: str
    view: str
    tile_size: int
    crop: CropSpec
    calibration: Calibration
    model_sha256: str
    labels: tuple[str, ...] = LABELS
    spec_version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            SpecError: If a field cannot be served by this library.
        """
        if self.spec_version != SPEC_VERSION:
            raise SpecError(
                f"spec_version must be {SPEC_VERSION}, received {self.spec_version}; "
                "export the model again with this version of fer-edge"
            )
        if self.labels != LABELS:
            raise SpecError(f"labels must be {list(LABELS)}, received {list(self.labels)}")
        if self.view not in VIEWS:
            raise SpecError(f"view must be one of {list(VIEWS)}, received {self.view!r}")
        crop, calibration = self.crop, self.calibration
        measured = dataclasses.asdict(calibration)
        if (truth := measured.pop("truth")) not in TRUTHS:
            raise SpecError(f"calibration.truth must be one of {list(TRUTHS)}, received {truth!r}")
        numbers = (*dataclasses.astuple(crop), *measured.values(), self.tile_size)
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise SpecError(f"crop, calibration and tile_size must be numbers, received {numbers}")
        if crop.scale <= 0 or calibration.temperature <= 0:
            raise SpecError(
                "crop.scale and calibration.temperature must be positive, "
                f"received {crop.scale} and {calibration.temperature}"
            )
        if not all(isinstance(text, str) for text in (self.name, self.variant, self.model_sha256)):
            raise SpecError("name, variant and model_sha256 must be strings")
        if not isinstance(self.tile_size, int) or not 32 <= self.tile_size <= 512:
            raise SpecError(f"tile_size must be in [32, 512], received {self.tile_size}")

    def to_json(self) -> str:
        """Returns the spec as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Reads what `to_json` wrote.

        Raises:
            SpecError: If the text is not such JSON, or a field is missing, unknown or wrong.
        """
        try:
            fields = json.loads(text)
            fields["crop"] = CropSpec(**fields["crop"])
            fields["calibration"] = Calibration(**fields["calibration"])
            fields["labels"] = tuple(fields["labels"])
            return cls(**fields)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SpecError(f"spec.json is not a version {SPEC_VERSION} spec: {error}") from error

    @classmethod
    def load(cls, bundle: Path) -> "ModelSpec":
        """Reads ``spec.json`` of a bundle directory.

        Raises:
            SpecError: If it is missing or wrong.
        """
        path = bundle / "spec.json"
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SpecError(f"no readable spec.json in {bundle}: {reason}") from error
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error

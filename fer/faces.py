"""Where the faces are, and the square around each that the classifier sees."""

import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fer._pool import Pool, cores
from fer.image import resize
from fer.spec import CropSpec

BLAZEFACE_FILE = Path(__file__).parent / "assets" / "faces" / "face_detection_short_range.tflite"
NATIVE = 128
"""Side of the square BlazeFace short-range was trained on, in pixels."""
STRIDE = 16
"""Each side of its input is a multiple of this."""
ANCHORS = ((8, 2), (16, 6))
"""Of its output, in order: distance of the positions in pixels, and boxes at each."""


@dataclass(frozen=True)
class FaceBox:
    """A face in a picture, in pixels; it may reach past the picture's border.

    Attributes:
        x: Left edge.
        y: Top edge.
        width: Width, above 0.
        height: Height, above 0.
        score: The detector's confidence in [0, 1].
    """

    x: float
    y: float
    width: float
    height: float
    score: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


class FaceDetector(Protocol):
    """Anything that finds faces. It must be safe to share between threads."""

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Finds the faces of an RGB picture of shape (H, W, 3), uint8, in any order."""
        ...


@dataclass(frozen=True)
class Look:
    """One look of BlazeFace at the whole picture.

    Attributes:
        pixels: How many pixels the network sees: many for small faces, few for large ones.
        enlarge: Whether a smaller picture is enlarged to that; otherwise it is seen as it is.
    """

    pixels: int
    enlarge: bool


@dataclass(frozen=True)
class BlazeFaceConfig:
    """How BlazeFace is used.

    Attributes:
        looks: The looks at the whole picture, largest first. A face is found when it spans about
            30 to 130 pixels of a look, so one look cannot serve both a portrait and a group.
        finer: One more look, taken only if it may show more: it costs four times the others.
        small: Pixels of the largest of ``looks`` that the smallest face found must span for the
            finer look to be left out; where a face is so small, others may have been missed.
        finer_shows_more: Times as large as the largest of ``looks`` the finer look must see a
            picture to be taken.
        propose: Score in [0, 1] from which a box is considered.
        sure: Score from which it is believed; below, the network takes a closer look.
        close: Framing of the closer look, with the face as large as the network likes it best. A
            face too large to be framed so within the picture is believed as it is.
        confirm: Mean of the score and of that of the closer look from which a box is believed. What
            only resembles a face seldom does so in both.
    """

    looks: tuple[Look, ...] = (
        Look(pixels=512 * 384, enlarge=False),
        Look(pixels=NATIVE * NATIVE, enlarge=True),
    )
    finer: Look = Look(pixels=1024 * 768, enlarge=False)
    small: float = 48
    finer_shows_more: float = 1.5
    propose: float = 0.5
    sure: float = 0.8
    close: CropSpec = field(default_factory=lambda: CropSpec(scale=2.2, offset_y=0.0))
    confirm: float = 0.7


class BlazeFaceDetector:
    """MediaPipe's BlazeFace short-range on LiteRT. Safe to share between threads.

    The network is convolutional throughout, so it is also run on inputs larger than the 128 x 128
    it was trained on: that finds the small faces of a group photo without cutting it into tiles.
    """

    def __init__(self, threads: int = 1, config: BlazeFaceConfig | None = None) -> None:
        """Loads the shipped model.

        Args:
            threads: CPU threads of one inference, at least 1.
            config: How it is used; None for the defaults.
        """
        self._config = config or BlazeFaceConfig()
        self._networks = Pool(lambda: _Networks(self._config, threads), max(1, cores() // threads))
        # Only one, as it takes some 200 MB once it was used.
        self._finer = Pool(lambda: _BlazeFace(BLAZEFACE_FILE, threads), 1)

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Finds the faces of an RGB picture.

        Args:
            image: Shape (H, W, 3), uint8.

        Returns:
            One box per face, largest first; empty where there is no face.
        """
        with self._networks.lend() as networks:
            boxes = self._propose(image, networks.whole)
            faces = self._believed(image, boxes, networks)
            if self._may_miss(image, faces):
                with self._finer.lend() as network:
                    more = self._propose(image, {self._config.finer: network})
                faces = self._believed(image, np.concatenate([boxes, more]), networks)
            return faces

    def _propose(
        self, image: NDArray[np.uint8], looks: dict[Look, "_BlazeFace"]
    ) -> NDArray[np.float32]:
        found = []
        seen = image
        for look, network in looks.items():
            scale = _scale(image, look)
            # Each look shrinks what the last one saw: a large photo is read only once.
            seen = resize(seen, scale * image.shape[1], scale * image.shape[0])
            boxes = network.run(seen, self._config.propose)
            boxes[:, :4] *= [image.shape[1] / seen.shape[1], image.shape[0] / seen.shape[0]] * 2
            found.append(boxes)
        return np.concatenate(found)

    def _believed(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32], networks: "_Networks"
    ) -> list[FaceBox]:
        return _outermost([box for box in _merge(boxes) if self._holds(image, box, networks)])

    def _may_miss(self, image: NDArray[np.uint8], faces: list[FaceBox]) -> bool:
        scale = _scale(image, self._config.looks[0])
        smallest = min((face.width for face in faces), default=0)
        shows_more = _scale(image, self._config.finer) >= self._config.finer_shows_more * scale
        return shows_more and smallest * scale < self._config.small

    def _holds(self, image: NDArray[np.uint8], face: FaceBox, networks: "_Networks") -> bool:
        config = self._config
        if face.score >= config.sure or face.width * config.close.scale > max(image.shape):
            return True
        # A face that fills a phone's photo has far more pixels than the network will see.
        step = max(1, int(face.width * config.close.scale) // (4 * NATIVE))
        sparse = _moved(face, 0, 0, 1 / step)
        left, top, side = crop_square(sparse, config.close)
        square = square_crop(image[::step, ::step], sparse, config.close)
        view = resize(square, NATIVE, NATIVE)
        seen = _moved(sparse, left, top, NATIVE / side)
        least = min(max(2 * config.confirm - face.score, 0.01), 0.99)
        return any(
            common_area(seen, again) > 0.4 * (seen.area + again.area - common_area(seen, again))
            for again in _merge(networks.closer.run(view, least))
        )


class _Networks:
    """What one thread needs to look at a picture: a network for each size that it is shown."""

    def __init__(self, config: BlazeFaceConfig, threads: int) -> None:
        self.whole = {look: _BlazeFace(BLAZEFACE_FILE, threads) for look in config.looks}
        self.closer = _BlazeFace(BLAZEFACE_FILE, threads)


class _BlazeFace:
    """The network and its anchors, for whatever size it is shown."""

    def __init__(self, model: Path, threads: int) -> None:
        self._interpreter = Interpreter(model_path=str(model), num_threads=threads)
        self._shape: tuple[int, ...] = ()
        self._prepare((1, NATIVE, NATIVE, 3))

    def run(self, image: NDArray[np.uint8], min_score: float) -> NDArray[np.float32]:
        """Returns rows of left, top, right, bottom in pixels and score, shape (N, 5)."""
        height, width = (-(-side // STRIDE) * STRIDE for side in image.shape[:2])
        self._prepare((1, height, width, 3))
        pixels = self._pixels[0]
        pixels[image.shape[0] :] = pixels[:, image.shape[1] :] = -1
        seen = pixels[: image.shape[0], : image.shape[1]]
        np.divide(image, np.float32(127.5), out=seen)
        seen -= 1
        self._interpreter.set_tensor(self._input, self._pixels)
        self._interpreter.invoke()
        boxes, logits = (self._interpreter.get_tensor(index)[0] for index in self._outputs)
        keep = logits[:, 0] > math.log(min_score / (1 - min_score))
        centre = boxes[keep, :2] + self._anchors[keep]
        half = boxes[keep, 2:4] / 2
        scores = 1 / (1 + np.exp(-logits[keep]))
        return np.concatenate([centre - half, centre + half, scores], axis=1)

    def _prepare(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        self._shape = shape
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._interpreter.resize_tensor_input(self._input, shape)
        self._interpreter.allocate_tensors()
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]
        self._pixels = np.empty(shape, np.float32)
        grids = []
        for stride, repeats in ANCHORS:
            y, x = np.mgrid[stride / 2 : shape[1] : stride, stride / 2 : shape[2] : stride]
            grids.append(np.stack([x.ravel(), y.ravel()], 1).repeat(repeats, 0))
        self._anchors = np.concatenate(grids).astype(np.float32)


class YuNetDetector:
    """YuNet on OpenCV, from an ONNX file of the user's. Safe to share between threads."""

    _PIXELS = 640 * 480
    _MIN_SCORE = 0.7

    def __init__(self, model: Path) -> None:
        """Loads the model.

        Args:
            model: A ``face_detection_yunet_*.onnx`` of OpenCV Zoo.

        Raises:
            ValueError: If the file is missing or is not such a model.
        """
        if not model.is_file():
            raise ValueError(f"{model}: no such file; it must be a YuNet .onnx of OpenCV Zoo")
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(model), "", (320, 320), score_threshold=self._MIN_SCORE
            )
            # OpenCV 5 loads a model of fixed input size, and only fails on another size.
            self._network.setInputSize((320, 256))
            self._network.detect(np.zeros((256, 320, 3), np.uint8))
        except cv2.error as error:
            raise ValueError(
                f"{model} is not a YuNet model this OpenCV can run; "
                "take face_detection_yunet_2026may.onnx of OpenCV Zoo"
            ) from error
        self._lock = threading.Lock()

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Finds the faces of an RGB picture.

        Args:
            image: Shape (H, W, 3), uint8.

        Returns:
            One box per face; empty where there is no face.
        """
        height, width = image.shape[:2]
        scale = min(1.0, math.sqrt(self._PIXELS / (height * width)))
        seen = cv2.cvtColor(resize(image, scale * width, scale * height), cv2.COLOR_RGB2BGR)
        with self._lock:
            self._network.setInputSize((seen.shape[1], seen.shape[0]))
            found = self._network.detect(seen)[1]
        faces = []
        for row in [] if found is None else np.asarray(found, np.float64):
            edges = [float(edge) / scale for edge in row[:4]]
            faces.append(FaceBox(edges[0], edges[1], edges[2], edges[3], float(row[-1])))
        return faces


def crop_square(box: FaceBox, crop: CropSpec) -> tuple[int, int, int]:
    """Places the square that frames a face as the classifier was trained to see it.

    Halves are rounded up, so that every platform agrees.

    Args:
        box: The face.
        crop: The framing, from the model's spec.

    Returns:
        Left edge, top edge and side in whole pixels; it may reach past the picture.
    """
    side = crop.scale * max(box.width, box.height)
    left = box.x + box.width / 2 - side / 2
    top = box.y + box.height / 2 + crop.offset_y * side - side / 2
    return math.floor(left + 0.5), math.floor(top + 0.5), max(1, math.floor(side + 0.5))


def square_crop(image: NDArray[np.uint8], box: FaceBox, crop: CropSpec) -> NDArray[np.uint8]:
    """Cuts out the square of `crop_square`, the picture's edge repeated where it ends.

    Args:
        image: RGB of shape (H, W, 3), uint8.
        box: The face.
        crop: The framing, from the model's spec.

    Returns:
        Array of shape (S, S, 3), uint8.
    """
    left, top, side = crop_square(box, crop)
    height, width = image.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return np.ascontiguousarray(image[top : top + side, left : left + side])
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    return np.ascontiguousarray(image[rows][:, columns])


def common_area(a: FaceBox, b: FaceBox) -> float:
    """Returns how many square pixels two boxes share."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0.0, width) * max(0.0, height)


def _scale(image: NDArray[np.uint8], look: Look) -> float:
    """Returns how large a look sees a picture: 0.5 is half its width."""
    side = math.sqrt(look.pixels)
    # Without the second bound, a strip one pixel high would be padded to gigabytes.
    return min(
        side / math.sqrt(image.shape[0] * image.shape[1]),
        8 * side / max(image.shape),
        math.inf if look.enlarge else 1.0,
    )


def _merge(boxes: NDArray[np.float32], same: float = 0.3) -> list[FaceBox]:
    """Merges the boxes of one face (MediaPipe's weighted non-maximum suppression).

    Args:
        boxes: Rows of left, top, right, bottom and score, shape (N, 5).
        same: Intersection over union above which two boxes are one face, averaged by score.

    Returns:
        One box per face, best score first.
    """
    rest = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    faces = []
    while len(rest):
        best = rest[0]
        edges = np.minimum(best[2:4], rest[:, 2:4]) - np.maximum(best[:2], rest[:, :2])
        common = np.prod(edges.clip(min=0), axis=1)
        areas = np.prod(rest[:, 2:4] - rest[:, :2], axis=1)
        agrees = common > same * (areas[0] + areas - common)
        agrees[0] = True
        left, top, right, bottom, _ = np.average(
            rest[agrees], axis=0, weights=rest[agrees, 4]
        ).tolist()
        faces.append(FaceBox(left, top, right - left, bottom - top, float(best[4])))
        rest = rest[~agrees]
    return faces


def _outermost(faces: list[FaceBox], inside: float = 0.7) -> list[FaceBox]:
    """Drops what is mostly inside a larger face: a mouth or an eye can look like a face."""
    kept: list[FaceBox] = []
    for face in sorted(faces, key=lambda face: -face.area):
        if all(common_area(face, larger) <= inside * face.area for larger in kept):
            kept.append(face)
    return kept


def _moved(face: FaceBox, left: float, top: float, scale: float) -> FaceBox:
    """Returns the face as seen in a picture that starts at (left, top) and is scaled."""
    return FaceBox(
        (face.x - left) * scale,
        (face.y - top) * scale,
        face.width * scale,
        face.height * scale,
        face.score,
    )

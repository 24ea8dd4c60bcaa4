"""Where the faces are, and the square around each that the classifier sees."""

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fer.spec import CropSpec

BLAZEFACE_FILE = Path(__file__).parent / "assets" / "faces" / "face_detection_short_range.tflite"


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
        propose: Score in [0, 1] from which a box is considered.
        sure: Score from which it is believed; below, the network looks at it again.
        close: Framing of that closer look: the face in the middle, large, with some surroundings.
        confirm: Score the closer look must reach.
    """

    looks: tuple[Look, ...] = (
        Look(pixels=512 * 384, enlarge=False),
        Look(pixels=128 * 128, enlarge=True),
    )
    propose: float = 0.5
    sure: float = 0.8
    close: CropSpec = CropSpec(scale=2.2, offset_y=0.0)
    confirm: float = 0.6


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
        self._wholes = [_BlazeFace(BLAZEFACE_FILE, threads) for _ in self._config.looks]
        self._closer = _BlazeFace(BLAZEFACE_FILE, threads)
        self._lock = threading.Lock()

    def detect(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Finds the faces of an RGB picture.

        Args:
            image: Shape (H, W, 3), uint8.

        Returns:
            One box per face; empty where there is no face.
        """
        with self._lock:
            proposals = self._propose(image)
            faces = [
                face
                for face in proposals
                if face.score >= self._config.sure or self._confirm(image, face)
            ]
        return faces

    def _propose(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        found = []
        seen = image
        for look, network in zip(self._config.looks, self._wholes, strict=True):
            scale = math.sqrt(look.pixels / (image.shape[0] * image.shape[1]))
            if not look.enlarge:
                scale = min(scale, 1.0)
            # Each look shrinks what the last one saw: a large photo is read only once.
            seen = _resize(seen, scale * image.shape[1], scale * image.shape[0])
            boxes = network.run(seen, self._config.propose)
            boxes[:, :4] *= [image.shape[1] / seen.shape[1], image.shape[0] / seen.shape[0]] * 2
            found.append(boxes)
        return _merge(np.concatenate(found))

    def _confirm(self, image: NDArray[np.uint8], face: FaceBox) -> bool:
        view = _resize(square_crop(image, face, self._config.close), 128, 128)
        boxes = self._closer.run(view, self._config.confirm)
        centre = np.abs((boxes[:, :2] + boxes[:, 2:4]) / 2 - 64)
        size = (boxes[:, 2:4] - boxes[:, :2]).mean(1) * self._config.close.scale / 128
        return bool(((centre < 20).all(axis=1) & (size > 0.6) & (size < 1.6)).any())


class _BlazeFace:
    """The network and its anchors, for whatever size it is shown."""

    _STRIDE = 16
    _ANCHORS = ((8, 2), (16, 6))  # (stride, anchors at each position), in output order

    def __init__(self, model: Path, threads: int) -> None:
        self._interpreter = Interpreter(model_path=str(model), num_threads=threads)
        self._shape: tuple[int, ...] = ()

    def run(self, image: NDArray[np.uint8], min_score: float) -> NDArray[np.float32]:
        """Returns rows of left, top, right, bottom in pixels and score, shape (N, 5)."""
        height, width = (-(-side // self._STRIDE) * self._STRIDE for side in image.shape[:2])
        self._prepare((1, height, width, 3))
        pixels = np.full((height, width, 3), -1, np.float32)
        pixels[: image.shape[0], : image.shape[1]] = image / np.float32(127.5) - 1
        self._interpreter.set_tensor(self._input, pixels[None])
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
        grids = []
        for stride, repeats in self._ANCHORS:
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
        except cv2.error as error:
            raise ValueError(
                f"{model} is not a YuNet model OpenCV can read: {error.err}"
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
        seen = cv2.cvtColor(_resize(image, scale * width, scale * height), cv2.COLOR_RGB2BGR)
        with self._lock:
            self._network.setInputSize((seen.shape[1], seen.shape[0]))
            found = self._network.detect(seen)[1]
        rows = [] if found is None else found.tolist()
        return [
            FaceBox(x / scale, y / scale, w / scale, h / scale, row[-1])
            for row in rows
            for x, y, w, h in [row[:4]]
        ]


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


def _resize(image: NDArray[np.uint8], width: float, height: float) -> NDArray[np.uint8]:
    size = max(1, round(width)), max(1, round(height))
    if image.shape[1] > 2 * size[0] and image.shape[0] > 2 * size[1]:
        # Averaging all of a phone's photo takes longer than finding its faces.
        image = cv2.resize(image, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    shrinks = size[0] < image.shape[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _merge(boxes: NDArray[np.float32], same: float = 0.3, inside: float = 0.7) -> list[FaceBox]:
    """Merges the boxes of one face (MediaPipe's weighted non-maximum suppression).

    Args:
        boxes: Rows of left, top, right, bottom and score, shape (N, 5).
        same: Intersection over union above which two boxes are one face, averaged by score.
        inside: Share of the smaller box covered by the better one above which it is dropped.

    Returns:
        One box per face, best score first.
    """
    left_boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    faces = []
    while len(left_boxes):
        area = np.prod(left_boxes[:, 2:4] - left_boxes[:, :2], axis=1)
        best = left_boxes[0]
        edges = np.minimum(best[2:4], left_boxes[:, 2:4]) - np.maximum(best[:2], left_boxes[:, :2])
        common = np.prod(edges.clip(min=0), axis=1)
        agrees = common > same * (area[0] + area - common)
        agrees[0] = True
        left, top, right, bottom, _ = np.average(
            left_boxes[agrees], axis=0, weights=left_boxes[agrees, 4]
        ).tolist()
        faces.append(FaceBox(left, top, right - left, bottom - top, float(best[4])))
        left_boxes = left_boxes[~agrees & (common <= inside * np.minimum(area[0], area))]
    return faces

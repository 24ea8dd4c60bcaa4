import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from fer.faces import BlazeFaceDetector, FaceBox, YuNetDetector, crop_square, square_crop
from fer.image import load_image
from fer.spec import CropSpec

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.png"
FACE = (177, 72, 94, 94)  # the astronaut's face: left, top, width, height
HEAD = (120, 10, 330, 220)  # with hair and neck: left, top, right, bottom


@pytest.fixture(scope="module")
def detector():
    return BlazeFaceDetector()


@pytest.fixture(scope="module")
def astronaut():
    return load_image(ASTRONAUT)


def overlap(box, expected):
    """Intersection over union with (left, top, width, height)."""
    x, y, width, height = expected
    across = min(box.x + box.width, x + width) - max(box.x, x)
    down = min(box.y + box.height, y + height) - max(box.y, y)
    common = max(0, across) * max(0, down)
    return common / (box.width * box.height + width * height - common)


def group_picture(astronaut, columns, rows, *, width=1600, height=1200):
    """Heads of several sizes in a grid, and where their faces are."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 180, width).astype(np.uint8)
    picture = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2)
    left, top, right, bottom = HEAD
    head = astronaut[top:bottom, left:right]
    faces = []
    for row in range(rows):
        for column in range(columns):
            scale = rng.uniform(0.75, 1.0) * min(
                width / columns / head.shape[1], height / rows / head.shape[0]
            )
            small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            mirror = rng.random() < 0.5
            x, y = column * width // columns, row * height // rows
            picture[y : y + small.shape[0], x : x + small.shape[1]] = (
                small[:, ::-1] if mirror else small
            )
            offset = right - FACE[0] - FACE[2] if mirror else FACE[0] - left
            faces.append(
                (x + offset * scale, y + (FACE[1] - top) * scale, FACE[2] * scale, FACE[3] * scale)
            )
    return picture, faces


def crowd(astronaut, width, height, *, smallest=0.03, largest=0.05):
    """Twenty heads before photos and textures, mirrored, turned, darker or paler, and their faces.

    A face is between ``smallest`` and ``largest`` of the picture's width.
    """
    rng = np.random.default_rng(0)
    picture = np.empty((height, width, 3), np.uint8)
    for index, name in enumerate(["coffee", "brick", "rocket", "gravel", "page", "grass"]):
        behind = load_image(np.asarray(getattr(data, name)()))
        place = np.s_[
            index // 3 * height // 2 : (index // 3 + 1) * height // 2,
            index % 3 * width // 3 : (index % 3 + 1) * width // 3,
        ]
        size = picture[place].shape[1::-1]
        picture[place] = cv2.resize(behind, size, interpolation=cv2.INTER_AREA)
    left, top, right, bottom = HEAD
    oval = np.zeros((bottom - top, right - left), np.float32)
    centre = oval.shape[1] // 2, oval.shape[0] // 2
    cv2.ellipse(oval, centre, (centre[0] - 14, centre[1] - 10), 0, 0, 360, 1, -1)
    oval = cv2.GaussianBlur(oval, (0, 0), 6)[:, :, None]
    faces = []
    for index in range(20):
        side = rng.uniform(smallest, largest) * width
        head = astronaut[top:bottom, left:right].astype(np.float32)
        head = ((head - 128) * rng.uniform(0.7, 1.2) + 128 + rng.uniform(-35, 25)).clip(0, 255)
        head = np.concatenate([head, oval], axis=2)
        middle = FACE[0] + FACE[2] / 2 - left, FACE[1] + FACE[3] / 2 - top
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(-12, 12), 1)
        head = cv2.warpAffine(head, turn, head.shape[1::-1])
        scale = side / FACE[2]
        head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y = middle[0] * scale, middle[1] * scale
        if rng.random() < 0.5:
            head, x = head[:, ::-1], head.shape[1] - x
        column = int((index % 5 + 0.5 + rng.uniform(-0.15, 0.15)) * width / 5 - x)
        row = int((index // 5 + 0.5 + rng.uniform(-0.1, 0.1)) * height / 4 - y)
        place = np.s_[row : row + head.shape[0], column : column + head.shape[1]]
        cover = head[:, :, 3:]
        picture[place] = np.rint(picture[place] * (1 - cover) + head[:, :, :3] * cover)
        faces.append((column + x - side / 2, row + y - side / 2, side, side))
    return picture, faces


def found(boxes, faces):
    return sum(any(overlap(box, face) > 0.5 for box in boxes) for face in faces)


def test_the_astronaut_has_one_face_where_it_is(detector, astronaut):
    (face,) = detector.detect(astronaut)
    assert overlap(face, FACE) > 0.8
    assert 0.8 < face.score <= 1


def test_a_photo_that_is_all_face_has_one_face(detector, astronaut):
    tight = np.ascontiguousarray(astronaut[66:176, 170:280])
    (face,) = detector.detect(tight)
    assert overlap(face, (FACE[0] - 170, FACE[1] - 66, *FACE[2:])) > 0.7


@pytest.mark.parametrize("side", [48, 3000])
def test_the_size_of_the_photo_does_not_matter(detector, astronaut, side):
    head = np.ascontiguousarray(astronaut[20:220, 120:320])
    photo = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    (face,) = detector.detect(photo)
    scale = side / 200
    expected = [(FACE[0] - 120) * scale, (FACE[1] - 20) * scale, 94 * scale, 94 * scale]
    assert overlap(face, expected) > 0.7


@pytest.mark.parametrize("edge", ["left", "right", "bottom"])
def test_a_face_cut_by_the_border_is_found(detector, astronaut, edge):
    x, y, width, height = FACE
    cut = {
        "left": astronaut[:, x + width // 5 :],
        "right": astronaut[:, : x + width * 4 // 5],
        "bottom": astronaut[: y + height * 4 // 5],
    }[edge]
    boxes = detector.detect(np.ascontiguousarray(cut))
    expected = (-(width // 5) if edge == "left" else x, y, width, height)
    assert any(overlap(box, expected) > 0.5 for box in boxes)


@pytest.mark.parametrize(("columns", "rows"), [(5, 4), (6, 5)])
def test_a_group_of_small_faces_is_found(detector, astronaut, columns, rows):
    picture, faces = group_picture(astronaut, columns, rows)
    boxes = detector.detect(picture)
    assert found(boxes, faces) >= 0.9 * len(faces)
    assert len(boxes) <= len(faces) + 1


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (4000, 2500)])
@pytest.mark.parametrize(("smallest", "largest"), [(0.03, 0.05), (0.018, 0.025)])
def test_twenty_small_faces_before_anything_are_found(
    detector, astronaut, width, height, smallest, largest
):
    picture, faces = crowd(astronaut, width, height, smallest=smallest, largest=largest)
    boxes = detector.detect(picture)
    assert found(boxes, faces) >= 18
    assert len(boxes) <= len(faces)
    assert [box.area for box in boxes] == sorted((box.area for box in boxes), reverse=True)


def test_what_was_seen_before_changes_nothing(astronaut):
    detector = BlazeFaceDetector()
    cut = np.ascontiguousarray(astronaut[:290, : FACE[0] + FACE[2] - 3])
    expected = detector.detect(cut)
    detector.detect(np.full((304, 272, 3), 255, np.uint8))  # seen at nearly the same size
    assert detector.detect(cut) == expected != []


def test_a_large_and_a_small_face_are_both_found(detector, astronaut):
    photo = np.full((600, 900, 3), 120, np.uint8)
    photo[:512, :512] = astronaut
    small = cv2.resize(astronaut[10:220, 120:330], (140, 140), interpolation=cv2.INTER_AREA)
    photo[300:440, 650:790] = small
    boxes = detector.detect(photo)
    assert len(boxes) == 2
    assert boxes[0].width > boxes[1].width


@pytest.mark.parametrize(
    "name", ["coffee", "chelsea", "rocket", "page", "brick", "coins", "grass", "clock", "horse"]
)
@pytest.mark.parametrize("width", [None, 1600])
def test_a_photo_without_a_face_has_none(detector, name, width):
    photo = np.asarray(getattr(data, name)())
    if photo.dtype == bool:
        photo = photo.astype(np.uint8) * 255
    photo = load_image(photo)
    if width:
        size = width, round(width * photo.shape[0] / photo.shape[1])
        photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC))
    assert detector.detect(photo) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (64, 2000), (1, 3_000_000)])
def test_a_blank_picture_of_any_shape_has_none(detector, shape):
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_threads_share_a_detector(detector, astronaut):
    photos = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), astronaut[:300, :400].copy()]
    expected = [detector.detect(photo) for photo in photos]
    results = {}

    def work(number):
        results[number] = detector.detect(photos[number % 3])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[number] == expected[number % 3] for number in range(9))


def test_the_square_is_framed_as_the_spec_says():
    box = FaceBox(x=100, y=200, width=40, height=50, score=1)
    assert crop_square(box, CropSpec(scale=1.0, offset_y=0.0)) == (95, 200, 50)
    assert crop_square(box, CropSpec(scale=1.2, offset_y=-0.1)) == (90, 189, 60)
    half = FaceBox(x=0.5, y=1.5, width=10, height=10, score=1)
    assert crop_square(half, CropSpec(scale=1.0, offset_y=0.0)) == (1, 2, 10)


def test_a_square_inside_the_picture_is_cut_out_exactly():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    crop = square_crop(image, FaceBox(10, 20, 30, 30, 1), CropSpec(1.0, 0.0))
    assert np.array_equal(crop, image[20:50, 10:40])


def test_a_square_past_the_border_repeats_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    crop = square_crop(image, FaceBox(-5, 40, 30, 30, 1), CropSpec(1.0, 0.0))
    assert crop.shape == (30, 30, 3)
    assert np.array_equal(crop[:20, 5:], image[40:, :25])
    assert np.array_equal(crop[3, :5], np.repeat(image[43:44, 0], 5, 0))
    assert np.array_equal(crop[20:, 5:], np.repeat(image[59:, :25], 10, 0))


def test_a_missing_yunet_file_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.onnx: no such file"):
        YuNetDetector(tmp_path / "gone.onnx")


def test_a_file_that_is_no_yunet_says_so(tmp_path):
    path = tmp_path / "photo.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"photo\.onnx is not a YuNet model"):
        YuNetDetector(path)


class FakeYuNet:
    """Says that the brightest blue pixel is a 10 x 20 face, as OpenCV's detector would."""

    def setInputSize(self, size):  # noqa: N802 - OpenCV's name
        self.size = size

    def detect(self, image):
        assert image.shape == (self.size[1], self.size[0], 3)
        y, x = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
        if image[y, x, 0] < 200:
            return 1, None
        return 1, np.array([[x, y, 10, 20, *[0] * 10, 0.9]], np.float32)


def test_yunet_boxes_are_in_pixels_of_the_photo(tmp_path, monkeypatch):
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"-")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_, **__: FakeYuNet())
    detector = YuNetDetector(path)
    photo = np.zeros((960, 1280, 3), np.uint8)
    assert detector.detect(photo) == []
    photo[400:404, 800:804] = (0, 0, 255)
    (face,) = detector.detect(photo)
    assert (face.x, face.y, face.width, face.height) == (800, 400, 20, 40)
    assert face.score == pytest.approx(0.9)

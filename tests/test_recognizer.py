import json
import threading
from pathlib import Path

import numpy as np
import pytest

from fer.faces import FaceBox
from fer.image import ImageDecodeError, load_image
from fer.labels import LABELS
from fer.occlusion import importance
from fer.recognizer import DEFAULT_BUNDLE, EmotionRecognizer, make_detector
from fer.runtime import Predictions, TileClassifier
from fer.spec import Calibration, CropSpec, ModelSpec, SpecError
from tests.process import python

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.png"


class StubClassifier:
    """The redder the tile, the happier: 0 is a seventh each, 255 is certain."""

    tile_size = 32

    def __init__(self):
        self.tiles = []

    def predict(self, tiles):
        assert tiles.dtype == np.float32
        assert tiles.shape[1:] == (32, 32, 3)
        self.tiles.extend(tiles)
        happy = 1 / 7 + 6 / 7 * tiles[..., 0].mean(axis=(1, 2)) / 255
        probabilities = np.repeat((1 - happy)[:, None] / 6, 7, axis=1)
        probabilities[:, LABELS.index("happy")] = happy
        return Predictions(probabilities.astype(np.float32), np.zeros((len(tiles), 1, 1, 7), "f4"))


class StubDetector:
    def __init__(self, *boxes):
        self.boxes = list(boxes)

    def detect(self, image):
        assert image.dtype == np.uint8
        return self.boxes


@pytest.fixture
def spec():
    return ModelSpec(
        name="stub",
        variant="float32",
        view="blend",
        tile_size=32,
        crop=CropSpec(scale=1.0, offset_y=0.0),
        calibration=Calibration(1.0, 0.05, 0.02, uncertain_below=0.5),
        model_sha256="0" * 64,
    )


@pytest.fixture
def half_red():
    """Left half black, right half red."""
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[:, 100:, 0] = 255
    return photo


def recognizer(spec, *boxes):
    return EmotionRecognizer(StubClassifier(), spec, StubDetector(*boxes))


def test_each_face_gets_its_own_result_the_largest_first(spec, half_red):
    small_black, large_red = FaceBox(10, 10, 20, 20, 0.9), FaceBox(120, 10, 50, 60, 0.8)
    first, second = recognizer(spec, small_black, large_red).recognize(half_red)
    assert (first.box, second.box) == (large_red, small_black)
    assert first.label == "happy"
    assert first.confidence == pytest.approx(1)
    assert second.confidence == pytest.approx(1 / 7)
    assert first.square == (115, 10, 60)
    assert first.tile.shape == (32, 32, 3)
    assert first.tile[0, 0].tolist() == [255, 0, 0]
    assert tuple(first.probabilities) == LABELS
    assert sum(first.probabilities.values()) == pytest.approx(1)
    assert first.importance is None


def test_a_result_below_the_calibrated_confidence_is_uncertain(spec, half_red):
    red, black = FaceBox(120, 10, 50, 50, 1), FaceBox(10, 10, 20, 20, 1)
    certain, uncertain = recognizer(spec, red, black).recognize(half_red)
    assert not certain.uncertain
    assert uncertain.uncertain


def test_a_photo_without_faces_is_an_empty_list(spec, half_red):
    assert recognizer(spec).recognize(half_red) == []


def test_thirty_faces_are_thirty_results(spec, half_red):
    boxes = [FaceBox(6 * n, 20, 10 + n % 3, 12, 0.9) for n in range(30)]
    results = recognizer(spec, *boxes).recognize(half_red)
    assert len(results) == 30
    assert {result.box for result in results} == set(boxes)


def test_a_face_does_not_change_with_its_company(spec, half_red):
    box, other = FaceBox(80, 10, 40, 40, 1), FaceBox(120, 10, 50, 50, 1)
    (alone,) = recognizer(spec, box).recognize(half_red)
    in_company = recognizer(spec, box, other).recognize(half_red)[1]
    assert alone.probabilities == in_company.probabilities


def test_a_face_past_the_border_is_read(spec, half_red):
    (face,) = recognizer(spec, FaceBox(180, 70, 60, 60, 1)).recognize(half_red)
    assert face.confidence == pytest.approx(1)


def test_a_result_is_ready_for_json(spec, half_red):
    (face,) = recognizer(spec, FaceBox(120, 10, 50.5, 60, 0.75)).recognize(half_red)
    written = json.loads(json.dumps(face.to_dict()))
    assert list(written) == ["box", "label", "confidence", "uncertain", "probabilities"]
    assert written["box"] == {"x": 120, "y": 10, "width": 50.5, "height": 60, "score": 0.75}
    assert list(written["probabilities"]) == list(LABELS)


def test_every_kind_of_picture_gives_the_same_result(spec):
    sources = [ASTRONAUT, str(ASTRONAUT), ASTRONAUT.read_bytes(), load_image(ASTRONAUT)]
    box = FaceBox(177, 72, 94, 94, 1)
    results = [recognizer(spec, box).recognize(source)[0].probabilities for source in sources]
    assert results == [results[0]] * 4


@pytest.mark.parametrize("bad", [b"", b"text", np.full((4, 4, 3), np.nan), np.zeros(4, np.uint8)])
def test_a_bad_picture_is_a_clear_error(spec, bad):
    with pytest.raises(ImageDecodeError):
        recognizer(spec).recognize(bad)


def test_a_detector_file_of_another_kind_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"must be a YuNet \.onnx file, received .*cascade\.xml"):
        make_detector(tmp_path / "cascade.xml")


def test_a_directory_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(SpecError, match=tmp_path.name):
        EmotionRecognizer.from_bundle(tmp_path)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_wrong_number_of_threads_is_named(threads):
    with pytest.raises(ValueError, match=f"threads must be at least 1, received {threads}"):
        EmotionRecognizer.from_bundle(threads=threads)


def test_the_shipped_bundle_sees_a_happy_astronaut():
    (face,) = EmotionRecognizer.from_bundle().recognize(ASTRONAUT, explained=1)
    assert face.label == "happy"
    # She smiles with her teeth: covering the mouth costs more than covering the forehead.
    side = face.tile.shape[0]
    mouth = face.importance[side * 6 // 10 : side * 9 // 10, side // 4 : side * 3 // 4]
    forehead = face.importance[: side // 4, side // 4 : side * 3 // 4]
    assert mouth.max() > 2 * max(0.1, forehead.max())


def test_neither_other_tiles_nor_other_threads_change_a_result():
    spec = ModelSpec.load(DEFAULT_BUNDLE)
    classifier = TileClassifier.from_bundle(DEFAULT_BUNDLE, spec)
    shape = (12, spec.tile_size, spec.tile_size, 3)
    tiles = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    alone = np.concatenate([classifier.predict(tile[None]).probabilities for tile in tiles])
    together = {}

    def work(number):
        order = np.random.default_rng(number).permutation(len(tiles))
        together[number] = classifier.predict(tiles[order]).probabilities[order.argsort()]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(np.unique(alone, axis=0)) == len(tiles)
    assert len(together) == 4
    for probabilities in together.values():
        assert np.array_equal(probabilities, alone)


def test_as_many_faces_are_explained_as_were_asked_for(spec, half_red):
    boxes = FaceBox(120, 10, 50, 60, 0.8), FaceBox(10, 10, 20, 20, 0.9)
    first, second = recognizer(spec, *boxes).recognize(half_red, explained=1)
    assert first.importance.shape == (32, 32)
    assert second.importance is None


def test_what_an_answer_rests_on_is_found():
    def probability(tiles):
        bright = tiles[:, :16, :16].mean(axis=(1, 2, 3)) / 255
        return (0.5 + 0.4 * bright).astype(np.float32)

    tile = np.zeros((64, 64, 3), np.float32)
    tile[:16, :16] = 255
    found = importance(probability, tile)
    assert found.shape == (64, 64)
    assert found[:10, :10].min() > 0.2
    assert np.abs(found[32:]).max() < 1e-6
    tile[:16, :16], tile[16:] = 0, 255  # now what lies there speaks against
    assert importance(probability, tile)[:10, :10].max() < -0.1


def test_the_recogniser_needs_no_tensorflow_and_no_gradio():
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'keras', 'gradio', 'train', 'export'):\n"
        "            raise ModuleNotFoundError(f'imported {name}')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import fer.__main__, fer.recognizer\n"
        f"photo = fer.recognizer.load_image({str(ASTRONAUT)!r})\n"
        "assert len(fer.recognizer.make_detector().detect(photo)) == 1\n"
    )
    python(code)

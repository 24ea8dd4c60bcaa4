"""The page's parts: what each tab draws of what it is given."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from fer.faces import FaceBox
from fer.labels import LABELS
from fer.overlay import fit_photo, grey_tile, importance_tile
from fer.recognizer import FaceEmotion
from fer.web import about, charts, photo
from tests.pictures import BROKEN, PORTRAIT, jpeg


def face(*, label="happy", confidence=0.8, uncertain=False, second="surprise"):
    rest = (1 - confidence) / 10
    probabilities = dict.fromkeys(LABELS, rest) | {label: confidence, second: 5 * rest}
    return FaceEmotion(
        box=FaceBox(10, 10, 40, 40, 0.9),
        label=label,
        confidence=confidence,
        uncertain=uncertain,
        probabilities=probabilities,
        importance=np.zeros((96, 96), np.float32),
        tile=np.full((96, 96, 3), 128, np.uint8),
        square=(5, 5, 50),
    )


def rows(html):
    """The charts' rows, as a visitor reads them."""
    found = re.findall(r'<th scope="row">(.*?)</th>.*?class="fer-value">(.*?)%', html)
    return [(label, float(share)) for label, share in found]


def text(html):
    return " ".join(re.sub("<style>.*?</style>|<[^>]*>", " ", html).split())


def test_portrait_shows_one_happy_face_with_seven_bars(recognizer, astronaut):
    shown, result = photo.show(recognizer, str(astronaut))
    assert shown.count("fer-box") == 1
    assert "1 happy" in text(shown)
    assert [label for label, _ in rows(result)] == list(LABELS)
    assert sum(share for _, share in rows(result)) == pytest.approx(100, abs=0.4)
    assert max(rows(result), key=lambda row: row[1])[0] == "happy"
    assert "radio" not in result


def test_group_offers_a_choice_of_face_largest_first(recognizer, group):
    shown, result = photo.show(recognizer, str(group))
    lefts = [float(left) for left in re.findall(r"style=\"left:([\d.]+)%", shown)]
    assert lefts == pytest.approx([71, 11, 42], abs=3)
    for number in (1, 2, 3):
        assert f'<label for="fer-face-{number}" class="fer-box' in shown
        assert f'id="fer-face-{number}"' in result
    assert result.count('type="radio"') == 3
    assert result.count(" checked>") + result.count(" checked ") == 1
    assert [label for label, _ in rows(result)] == 3 * list(LABELS)


def test_no_face_is_a_hint_and_the_photo_is_still_shown(recognizer, no_face):
    shown, result = photo.show(recognizer, str(no_face))
    assert "<img" in shown
    assert "fer-box" not in shown
    assert "No face found" in result
    assert 'role="alert"' not in result


def test_removing_the_photo_clears_the_result(recognizer):
    assert photo.show(recognizer, None) == ("", photo.WAITING_HTML)


@pytest.mark.parametrize("name", BROKEN)
def test_unreadable_file_gets_one_clear_line(recognizer, tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    shown, result = photo.show(recognizer, str(tmp_path / name))
    assert shown == ""
    assert 'role="alert"' in result
    assert f"{name}: " in result
    assert reason in result
    assert str(tmp_path) not in result


def test_missing_file_gets_one_clear_line(recognizer, tmp_path):
    _, result = photo.show(recognizer, str(tmp_path / "gone.jpg"))
    assert "gone.jpg: cannot be opened" in result
    assert str(tmp_path) not in result


def test_file_name_is_escaped(recognizer, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    path.write_bytes(b"no picture")
    _, result = photo.show(recognizer, str(path))
    assert "<img" not in result
    assert "&lt;img" in result


def test_exif_and_cmyk_photos_are_marked_like_the_original(recognizer, astronaut, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = PORTRAIT.transpose(Image.Transpose.ROTATE_90)
    (tmp_path / "exif.jpg").write_bytes(jpeg(turned, exif=exif, quality=95))
    (tmp_path / "cmyk.jpg").write_bytes(jpeg(PORTRAIT.convert("CMYK"), quality=95))

    def place(path):
        shown, _ = photo.show(recognizer, str(path))
        return [float(edge) for edge in re.findall(r"(?:left|top|width|height):([\d.]+)%", shown)]

    expected = place(astronaut)
    assert len(expected) == 4
    assert place(tmp_path / "exif.jpg") == pytest.approx(expected, abs=1)
    assert place(tmp_path / "cmyk.jpg") == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.97, "almost certain, 97%"), (0.8, "confident, 80%"), (0.6, "likely, 60%")],
)
def test_headline_says_the_label_and_how_sure(confidence, words):
    result = text(charts.result_html([face(confidence=confidence)]))
    assert f"Happy {words}" in result
    assert f"of 100 answers this sure, about {words[-3:-1]} were right" in result
    assert "Uncertain" not in result


def test_uncertain_result_names_two_candidates_and_no_winner():
    uncertain = face(label="sad", confidence=0.4, uncertain=True, second="neutral")
    result = text(charts.result_html([uncertain]))
    assert "Uncertain: could be sad or neutral" in result
    assert "right roughly 40 times in 100" in result
    assert "Sad" not in result
    shown = charts.photo_html(np.zeros((100, 100, 3), np.uint8), [uncertain])
    assert "1 sad?" in text(shown)


def test_box_past_the_border_is_drawn_inside_the_photo():
    outside = dataclasses.replace(face(), box=FaceBox(-20, 70, 60, 60, 0.9))
    shown = charts.photo_html(np.zeros((100, 100, 3), np.uint8), [outside])
    assert "left:0.00%;top:70.00%" in shown
    assert "width:40.00%;height:30.00%" in shown


def test_pictures_carry_alternative_text_and_charts_a_caption():
    result = charts.result_html([face()])
    assert re.findall('<img[^>]*alt="([^"]+)"', result) == [
        "Face 1 in grey, 96 by 96 pixels",
        "Face 1 with the parts that speak for happy laid over it",
    ]
    assert "<caption>Probability of each expression, face 1</caption>" in result


def test_a_face_that_was_not_explained_shows_no_map():
    result = charts.result_html([dataclasses.replace(face(), importance=None)])
    assert re.findall('<img[^>]*alt="([^"]+)"', result) == ["Face 1 in grey, 96 by 96 pixels"]
    assert "speaks for" not in result


# Its pictures


def test_a_map_is_orange_where_it_speaks_for_the_label_and_blue_against():
    tile = np.full((96, 96, 3), 128, np.uint8)
    importance = np.zeros((96, 96), np.float32)
    importance[:, :32], importance[:, 64:] = 2, -2
    picture = importance_tile(tile, importance, 192).astype(int)
    assert picture.shape == (192, 192, 3)
    assert (picture[:, :60, 0] > picture[:, :60, 2] + 50).all()
    assert (picture[:, -60:, 2] > picture[:, -60:, 0] + 50).all()


def test_a_map_of_nothing_is_the_tile_and_fades_when_weak():
    tile = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    nothing = importance_tile(tile, np.zeros((96, 96), np.float32), 96)
    assert np.array_equal(nothing, grey_tile(tile, 96))
    faint = importance_tile(tile, np.full((96, 96), 0.01, np.float32), 96).astype(int)
    assert np.abs(faint - nothing).max() < 10


def test_only_large_photos_are_shrunk_and_keep_their_shape():
    small = np.zeros((30, 40, 3), np.uint8)
    assert fit_photo(small, 40) is small
    assert fit_photo(np.zeros((300, 900, 3), np.uint8), 90).shape == (30, 90, 3)
    assert fit_photo(np.zeros((1, 900, 3), np.uint8), 90).shape == (1, 90, 3)


def test_about_tells_how_far_the_probabilities_were_off(recognizer):
    text = about.about(recognizer.spec.calibration)
    points = round(100 * recognizer.spec.calibration.ece_after)
    assert f"off by {points} percentage points on average" in text
    assert "not a felt emotion" in text

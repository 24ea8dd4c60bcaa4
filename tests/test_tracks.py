import copy
import json
import math
import sys

import numpy as np
import pytest

from fer.faces import FaceBox
from fer.labels import LABELS
from fer.recognizer import FaceEmotion
from fer.tracks import LOST_AFTER, TIME_CONSTANT, Tracks, follow

STEP = 0.1
EVEN = (1 / len(LABELS),) * len(LABELS)


def one_hot(label):
    return tuple(float(each == label) for each in LABELS)


def face(x, y=100, side=100, probabilities=EVEN):
    return FaceEmotion(
        box=FaceBox(x, y, side, side, 0.9),
        label=LABELS[int(np.argmax(probabilities))],
        confidence=max(probabilities),
        uncertain=False,
        probabilities=dict(zip(LABELS, probabilities, strict=True)),
        importance=None,
        tile=np.zeros((4, 4, 3), np.uint8),
        square=(0, 0, side),
    )


def numbers(frames, step=STEP):
    """Each frame's faces' numbers, in the order in which the detector gave the faces."""
    tracks = Tracks()
    result = []
    for index, faces in enumerate(frames):
        tracks = follow(tracks, faces, index * step)
        boxes = {track.box: track.number for track in tracks.visible(index * step)}
        result.append([boxes[each.box] for each in faces])
    return result


def test_a_face_that_moves_keeps_its_number():
    assert numbers([[face(x)] for x in range(0, 1000, 40)]) == [[1]] * 25


def test_a_face_that_moves_so_fast_that_its_boxes_hardly_meet_keeps_its_number():
    assert numbers([[face(x)] for x in range(0, 1000, 85)]) == [[1]] * 12


def test_a_face_beside_does_not_take_the_number_of_one_that_is_there():
    frames = [[face(0)], [face(10), face(95)], [face(20)], [face(105), face(30)]]
    assert numbers(frames) == [[1], [1, 2], [1], [2, 1]]


def test_a_face_elsewhere_is_another_one():
    assert numbers([[face(0)], [face(300)]]) == [[1], [2]]


def test_a_face_that_comes_nearer_keeps_its_number():
    assert numbers(
        [[face(300 - side / 2, 300 - side / 2, side)] for side in range(60, 400, 20)]
    ) == ([[1]] * 17)


def test_two_faces_that_swap_sides_keep_their_numbers():
    # One passes half a face higher, as somebody does who walks behind another.
    frames = [[face(100 + 10 * step, 100), face(500 - 10 * step, 160)] for step in range(41)]
    assert numbers(frames) == [[1, 2]] * 41


def test_the_order_of_the_detector_does_not_matter():
    left, right = face(0), face(400)
    assert numbers([[left, right], [right, left], [left, right]]) == [[1, 2], [2, 1], [1, 2]]


def test_many_faces_keep_their_numbers():
    rng = np.random.default_rng(0)
    places = [(150 * column, 150 * row) for column in range(6) for row in range(5)]
    frames = []
    for _ in range(20):
        places = [(x + rng.normal(0, 5), y + rng.normal(0, 5)) for x, y in places]
        frames.append([face(x, y) for x, y in places])
    assert numbers(frames) == [list(range(1, 31))] * 20


@pytest.mark.parametrize(
    ("gone", "number"), [(0.5, 1), (LOST_AFTER, 1), (LOST_AFTER + 0.01, 2), (5.0, 2)]
)
def test_a_face_keeps_its_number_until_it_is_lost(gone, number):
    tracks = follow(Tracks(), [face(0)], 1.0)
    tracks = follow(tracks, [], 1.0 + gone / 2)
    assert tracks.visible(1.0 + gone / 2) == ()
    tracks = follow(tracks, [face(5)], 1.0 + gone)
    (track,) = tracks.visible(1.0 + gone)
    assert track.number == number


def test_a_lost_face_is_forgotten():
    tracks = Tracks()
    for index in range(1000):
        tracks = follow(tracks, [face(300 * index)], index * STEP)
    assert tracks.given == 1000
    assert len(tracks.faces) <= LOST_AFTER / STEP + 2


@pytest.mark.parametrize("rate", [2, 10, 29.97, 60])
def test_smoothing_takes_its_time_whatever_the_frame_rate(rate):
    """Frames lie wherever they do; the answer at the time constant is the same."""
    times = [*np.arange(1 / rate, TIME_CONSTANT, 1 / rate), TIME_CONSTANT]
    tracks = follow(Tracks(), [face(0, probabilities=one_hot("sad"))], 0.0)
    for time in times:
        tracks = follow(tracks, [face(0, probabilities=one_hot("happy"))], float(time))
    (track,) = tracks.visible(TIME_CONSTANT)
    found = dict(zip(LABELS, track.probabilities, strict=True))
    assert found["happy"] == pytest.approx(1 - math.exp(-1))
    assert found["sad"] == pytest.approx(math.exp(-1))
    assert sum(track.probabilities) == pytest.approx(1)
    assert (track.label, track.confidence) == ("happy", found["happy"])


def test_a_new_face_is_not_smoothed():
    tracks = follow(Tracks(), [face(0, probabilities=one_hot("sad"))], 0.0)
    tracks = follow(tracks, [face(400, probabilities=one_hot("happy"))], STEP)
    (track,) = tracks.visible(STEP)
    assert track.probabilities == one_hot("happy")


def test_one_frame_of_another_expression_does_not_flicker():
    tracks = Tracks()
    for index in range(20):
        label = "fear" if index == 15 else "neutral"
        tracks = follow(tracks, [face(0, probabilities=one_hot(label))], index * STEP)
        assert [track.label for track in tracks.faces] == ["neutral"]


@pytest.mark.parametrize("time", [4.9, 0.0])
def test_a_time_that_goes_backwards_starts_afresh(time):
    tracks = follow(Tracks(), [face(0), face(400)], 4.8)
    tracks = follow(tracks, [face(0, probabilities=one_hot("sad"))], 5.0)
    tracks = follow(tracks, [face(0, probabilities=one_hot("happy"))], time)
    (track,) = tracks.faces
    assert track.number == 3  # numbers are never used twice
    assert track.probabilities == one_hot("happy")


def test_the_same_time_twice_changes_nothing():
    tracks = follow(Tracks(), [face(0, probabilities=one_hot("sad"))], 1.0)
    assert follow(tracks, [face(0, probabilities=one_hot("happy"))], 1.0) == tracks


def test_tracks_survive_json():
    tracks = follow(Tracks(), [face(0), face(400, probabilities=one_hot("sad"))], 0.0)
    tracks = follow(tracks, [face(3.25, probabilities=one_hot("happy"))], 1 / 3)
    returned = Tracks.from_dict(json.loads(json.dumps(tracks.to_dict())))
    assert returned == tracks
    assert Tracks.from_dict(tracks.to_dict()) == tracks
    assert Tracks.from_dict(json.loads(json.dumps(Tracks().to_dict()))) == Tracks()
    # JavaScript writes 3.0 as 3.
    whole = json.loads(json.dumps(follow(Tracks(), [face(3.0)], 1.0).to_dict()).replace(".0", ""))
    (track,) = follow(Tracks.from_dict(whole), [face(4)], 1.0 + STEP).faces
    assert track.number == 1


def deep(levels):
    nested = []
    for _ in range(levels):
        nested = [nested]
    return nested


def changed(path, value):
    """What a client might send: good tracks with one thing replaced, or without it."""
    tracks = follow(Tracks(), [face(0), face(400)], 1.0).to_dict()
    tracks = json.loads(json.dumps(tracks))
    place = tracks
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return tracks


@pytest.mark.parametrize(
    "path",
    [
        ["faces"],
        ["given"],
        ["faces", 0],
        *(["faces", 1, key] for key in ("number", "box", "probabilities", "seen")),
        *(["faces", 0, "box", key] for key in ("x", "y", "width", "height", "score")),
        ["faces", 0, "probabilities", 3],
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_strange_tracks_are_refused_in_one_line(path):
    values = [
        *(None, True, "1", "happy" * 1000, -1e300, math.nan, math.inf, 10**400, 1 << 70),
        *([], {}, [1, 2], {"a": "\n"}, deep(5), deep(10 * sys.getrecursionlimit())),
    ]
    if path[-1] != 0:  # which removes a face
        values.append(KeyError)
    for value in values:
        if path == ["faces"] and value == []:
            continue  # no faces are fine
        with pytest.raises(ValueError, match="tracks must be those of the last answer") as caught:
            Tracks.from_dict(changed(path, value))
        message = str(caught.value)
        assert len(message) < 300
        assert "\n" not in message


@pytest.mark.parametrize("values", [None, 3, "faces", [], [1], {}, deep(100_000), {"given": 3}])
def test_what_is_no_tracks_at_all_is_refused(values):
    with pytest.raises(ValueError, match="tracks must be those of the last answer"):
        Tracks.from_dict(values)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["faces", 0, "box", "width"], 0),
        (["faces", 0, "box", "height"], -5),
        (["faces", 0, "number"], 0),
        (["faces", 0, "number"], 1.5),
        (["faces", 0, "number"], 2),  # the other one's
        (["faces", 0, "number"], 7),  # not given yet
        (["given"], 1),
        (["faces", 0, "seen"], -1),
        (["faces", 0, "probabilities"], [1.0] * 7),
        (["faces", 0, "probabilities"], [1.0]),
        (["faces", 0, "probabilities"], [-1.0, 2.0, 0, 0, 0, 0, 0]),
    ],
)
def test_tracks_that_cannot_be_are_refused(path, value):
    with pytest.raises(ValueError, match="tracks must be those of the last answer"):
        Tracks.from_dict(changed(path, value))


def test_too_many_faces_are_refused():
    tracks = changed(["given"], 10_000)
    one = tracks["faces"][0]
    tracks["faces"] = [{**copy.deepcopy(one), "number": number} for number in range(1, 258)]
    with pytest.raises(ValueError, match="at most 256"):
        Tracks.from_dict(tracks)
    tracks["faces"].pop()
    assert len(Tracks.from_dict(tracks).faces) == 256

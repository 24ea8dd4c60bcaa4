"""Faces that keep their number from frame to frame, with probabilities that do not flicker.

Nothing is remembered here: what is known of a stream goes in and comes out, so that a server may
leave it with each visitor and keep nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fer.faces import FaceBox, common_area
from fer.labels import LABELS
from fer.recognizer import FaceEmotion

TIME_CONSTANT = 0.5
"""Seconds after which a changed expression has moved the probabilities 63% of the way."""

LOST_AFTER = 1.0
"""Seconds without a sighting after which a face's number is given up."""

_MOST = 256  # faces in one frame; more is nothing a camera sees
_FAR = 1e9  # pixels
_LATE = 1e9  # seconds
_GIVEN = 2**53  # JavaScript counts no further
_SAME = 0.25  # intersection over union from which two boxes are one face
_NEAR = 1.0  # of the box's side: a face that moved less between two frames is still the same


@dataclass(frozen=True)
class Track:
    """One face through time.

    Attributes:
        number: 1 for the first face of the stream, 2 for the next, never used twice.
        box: Where it was seen last.
        probabilities: Smoothed probability of every class, in the order of `fer.labels.LABELS`.
        seen: When it was seen last, in seconds of the stream.
    """

    number: int
    box: FaceBox
    probabilities: tuple[float, ...]
    seen: float

    @property
    def confidence(self) -> float:
        """The probability of the most probable class, in [0, 1]."""
        return max(self.probabilities)

    @property
    def label(self) -> str:
        """The most probable class, one of `fer.labels.LABELS`."""
        return LABELS[self.probabilities.index(self.confidence)]


@dataclass(frozen=True)
class Tracks:
    """What is known of a stream of frames.

    Attributes:
        faces: The faces that are there or were a moment ago.
        given: The highest number given so far.
    """

    faces: tuple[Track, ...] = ()
    given: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold, for `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Tracks":
        """Reads what `to_dict` wrote, wherever it has been meanwhile.

        Raises:
            ValueError: If it is anything else.
        """
        try:
            faces = _list(values["faces"], _MOST)
            tracks = cls(tuple(map(_track, faces)), int(_number(values["given"], int, 0, _GIVEN)))
        except (KeyError, TypeError, ValueError) as error:
            # The value itself may be endless: it is not repeated.
            raise ValueError(
                "tracks must be those of the last answer, received others "
                f"({type(error).__name__}: {str(error)[:80]}); send null to start afresh"
            ) from error
        numbers = {face.number for face in tracks.faces}
        if len(numbers) < len(tracks.faces) or max(numbers, default=0) > tracks.given:
            raise ValueError(
                "tracks must be those of the last answer, received numbers given twice or never; "
                "send null to start afresh"
            )
        return tracks

    def visible(self, time: float) -> tuple[Track, ...]:
        """Returns the faces seen in the frame of that time."""
        return tuple(track for track in self.faces if track.seen == time)


def follow(tracks: Tracks, faces: Sequence[FaceEmotion], time: float) -> Tracks:
    """Adds a frame's faces to what is known of its stream.

    A face is the track whose box it overlaps most, or failing that the nearest; what fits no track
    gets a number of its own. Probabilities are smoothed exponentially with `TIME_CONSTANT`, however
    unevenly the frames come.

    Args:
        tracks: What was known before; ``Tracks()`` at the start.
        faces: The frame's faces.
        time: When the frame was taken, in seconds; a time before the last frame's starts afresh.

    Returns:
        What is known now.
    """
    known = [track for track in tracks.faces if time - track.seen <= LOST_AFTER]
    if any(track.seen > time for track in known):
        known = []
    pairs = sorted(
        (
            (likeness, old, new)
            for old, track in enumerate(known)
            for new, face in enumerate(faces)
            if (likeness := _likeness(track.box, face.box)) > 0
        ),
        reverse=True,
    )
    matched: dict[int, int] = {}
    for _, old, new in pairs:
        if old not in matched.values() and new not in matched:
            matched[new] = old
    given = tracks.given
    seen = []
    for new, face in enumerate(faces):
        now = tuple(face.probabilities[label] for label in LABELS)
        if new in matched:
            track = known[matched[new]]
            share = 1 - math.exp(-(time - track.seen) / TIME_CONSTANT)
            smooth = tuple(
                before + share * (value - before)
                for before, value in zip(track.probabilities, now, strict=True)
            )
            seen.append(replace(track, box=face.box, probabilities=smooth, seen=time))
        else:
            given += 1
            seen.append(Track(given, face.box, now, time))
    missed = [track for old, track in enumerate(known) if old not in matched.values()]
    return Tracks(tuple(sorted([*seen, *missed], key=lambda track: track.number)), given)


def _likeness(before: FaceBox, now: FaceBox) -> float:
    """Returns how likely two boxes of successive frames are one face: 0 not at all, up to 2."""
    common = common_area(before, now)
    overlap = common / (before.area + now.area - common)
    if overlap >= _SAME:
        return 1 + overlap
    side = max(before.width, before.height, now.width, now.height)
    distance = math.hypot(
        before.x + before.width / 2 - now.x - now.width / 2,
        before.y + before.height / 2 - now.y - now.height / 2,
    )
    alike = 0.5 < before.area / now.area < 2
    return max(0.0, _NEAR - distance / side) if alike else 0.0


def _track(face: Any) -> Track:
    edges = {"x": -_FAR, "y": -_FAR, "width": 1e-6, "height": 1e-6}
    return Track(
        number=int(_number(face["number"], int, 1, _GIVEN)),
        box=FaceBox(
            **{edge: _number(face["box"][edge], float, low, _FAR) for edge, low in edges.items()},
            score=_number(face["box"]["score"], float, 0, 1),
        ),
        probabilities=_probabilities(face["probabilities"]),
        seen=_number(face["seen"], float, 0, _LATE),
    )


def _probabilities(values: Any) -> tuple[float, ...]:
    found = tuple(_number(value, float, 0, 1.001) for value in _list(values, len(LABELS)))
    if len(found) != len(LABELS) or not math.isclose(sum(found), 1, abs_tol=0.001):
        raise ValueError(f"probabilities must be {len(LABELS)} that sum up to 1")
    return found


def _list(values: Any, longest: int) -> "list[Any] | tuple[Any, ...]":
    if not isinstance(values, (list, tuple)) or len(values) > longest:
        raise ValueError(f"not a list of at most {longest}")
    return values


def _number(value: Any, kind: type[float], low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not low <= value <= high:
        raise ValueError(f"not a number from {low:g} to {high:g}")
    return kind(value)

"""Video file -> faces through time, and a copy of the video with the faces marked."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.overlay import draw_faces, fit_photo
from fer.recognizer import EmotionRecognizer
from fer.tracks import Track, Tracks, follow

MAX_SECONDS = 120.0
"""Longest video that is read."""

READ_PER_SECOND = 10
"""Frames in which faces are looked for; the frames between show where they were."""

_DRAWN_PER_SECOND = 30
_DRAWN_SIDE = 1280  # pixels


class VideoDecodeError(ValueError):
    """A video that cannot be read; the message is one line for the person who chose it."""


@dataclass(frozen=True)
class Moment:
    """The faces of one frame.

    Attributes:
        time: Seconds since the video's first frame.
        faces: The faces seen in it.
    """

    time: float
    faces: tuple[Track, ...]


@dataclass(frozen=True)
class Second:
    """One face during one second of a video.

    Attributes:
        second: The second, from 0.
        number: The face's number.
        probabilities: Mean probability of every class, in the order of `fer.labels.LABELS`.
        confidence: The highest of them.
        label: Its class.
        uncertain: Whether the confidence is below what the model's spec asks for.
    """

    second: int
    number: int
    probabilities: tuple[float, ...]
    confidence: float
    label: str
    uncertain: bool


def duration(source: Path) -> float:
    """Returns how long a video says it is, in seconds; 0 where it does not say.

    Raises:
        VideoDecodeError: If it cannot be read or is longer than `MAX_SECONDS`.
    """
    with _opened(source) as (container, stream):
        seconds = 0.0
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / av.time_base
        if seconds > MAX_SECONDS + 1:
            raise VideoDecodeError(_too_long(source, seconds))
        return seconds


def read_video(
    recognizer: EmotionRecognizer, source: Path, annotated: Path | None = None
) -> Iterator[Moment]:
    """Finds and follows the faces of a video, a frame at a time: memory does not grow with it.

    Args:
        recognizer: Reads the frames.
        source: The video file, anything that FFmpeg's libraries read.
        annotated: Where to write the video with the faces marked, as MP4 (H.264) without sound;
            None for nowhere. It is there once the last moment was taken.

    Yields:
        `READ_PER_SECOND` moments a second, at most.

    Raises:
        VideoDecodeError: If the video cannot be read or is longer than `MAX_SECONDS`.
    """
    with contextlib.ExitStack() as stack:
        container, stream = stack.enter_context(_opened(source))
        stream.thread_type = "AUTO"
        writer = stack.enter_context(_Writer.to(annotated)) if annotated else None
        tracks, start, read_next, time = Tracks(), None, 0.0, -1.0
        for frame in _decoded(container, stream, source):
            start = frame.time if start is None else start
            time = max(time, frame.time - start)
            if time > MAX_SECONDS:
                raise VideoDecodeError(_too_long(source))
            reads = time >= read_next
            if not reads and (writer is None or not writer.wants(time)):
                continue
            picture = _upright(frame)
            if reads:
                # Frames seldom come at exactly the wanted times: the next is due from the grid.
                read_next = (math.floor(time * READ_PER_SECOND + 1e-6) + 1) / READ_PER_SECOND - 1e-6
                tracks = follow(tracks, recognizer.recognize(picture), time)
                yield Moment(time, tracks.visible(time))
            if writer is not None and writer.wants(time):
                writer.add(picture, tracks.faces, time, recognizer)
        if time < 0:
            raise VideoDecodeError(f"{source}: has no pictures; choose another file")


def seconds(moments: Sequence[Moment], uncertain_below: float) -> list[Second]:
    """Sums moments up to one row for each face in each second.

    Args:
        moments: What `read_video` yielded.
        uncertain_below: Confidence below which a row is uncertain, from the model's spec.
    """
    seen: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    for moment in moments:
        for face in moment.faces:
            seen.setdefault((int(moment.time), face.number), []).append(face.probabilities)
    rows = []
    for (second, number), values in sorted(seen.items()):
        mean = tuple(float(value) for value in np.mean(values, axis=0))
        confidence = max(mean)
        label = LABELS[mean.index(confidence)]
        rows.append(Second(second, number, mean, confidence, label, confidence < uncertain_below))
    return rows


class _Writer:
    """The annotated copy, at an even rate however unevenly the frames come."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._stream: Any = None
        self._written = -1

    @classmethod
    @contextlib.contextmanager
    def to(cls, path: Path) -> "Iterator[_Writer]":
        with replacing(path) as temporary:
            writer = cls(temporary)
            try:
                yield writer
                writer._finish()
            finally:
                writer._container.close()

    def wants(self, time: float) -> bool:
        """Returns whether a frame of that time would be shown."""
        return self._index(time) > self._written

    def add(
        self,
        picture: NDArray[np.uint8],
        faces: Sequence[Track],
        time: float,
        recognizer: EmotionRecognizer,
    ) -> None:
        shown = fit_photo(picture, _DRAWN_SIDE)
        shown = shown[: shown.shape[0] // 2 * 2, : shown.shape[1] // 2 * 2]  # what H.264 wants
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=_DRAWN_PER_SECOND)
            self._stream.options = {"preset": "veryfast", "crf": "25"}
            self._stream.height, self._stream.width = shown.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        limit = recognizer.spec.calibration.uncertain_below
        marks = [
            (face.box, face.label, f"{face.number} {face.label}{'?' * (face.confidence < limit)}")
            for face in faces
        ]
        marked = draw_faces(shown, marks, scale=shown.shape[1] / picture.shape[1])
        frame = VideoFrame.from_ndarray(marked, format="rgb24")
        self._written = self._index(time)
        frame.pts = self._written
        self._container.mux(self._stream.encode(frame))

    def _finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    @staticmethod
    def _index(time: float) -> int:
        return math.floor(time * _DRAWN_PER_SECOND + 0.5)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[Any, VideoStream]]:
    try:
        container = av.open(str(source))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoDecodeError(
            f"{source}: is not a video that can be read; save it as MP4"
        ) from error
    with container:
        if not container.streams.video:
            raise VideoDecodeError(f"{source}: has no pictures, only sound; choose another file")
        yield container, container.streams.video[0]


def _decoded(container: Any, stream: VideoStream, source: Path) -> Iterator[VideoFrame]:
    try:
        for frame in container.decode(stream):
            if frame.time is not None:
                yield frame
    except (av.FFmpegError, ValueError) as error:
        raise VideoDecodeError(
            f"{source}: is damaged or incomplete ({error}); save or download it again"
        ) from error


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """Returns a frame as RGB, turned as a phone's video asks."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _too_long(source: Path, seconds: float | None = None) -> str:
    found = f"received {seconds:.0f} seconds" if seconds else "this one is longer"
    return f"{source}: must be at most {MAX_SECONDS:.0f} seconds long, {found}; cut it shorter"

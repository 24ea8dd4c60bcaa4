"""Video file -> faces through time, and a copy of the video with the faces marked."""

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.overlay import draw_faces, fit_photo
from fer.recognizer import EmotionRecognizer
from fer.sound import add_sound
from fer.tracks import Track, Tracks, follow

MAX_SECONDS = 120.0
"""Longest video that is read; a second more is forgiven, for editors cut no sharper."""

MAX_PIXELS = 4096 * 2304
"""Largest picture of a video that is read, a 4K camera's; of a larger one nothing is decoded."""

READ_PER_SECOND = 10
"""Frames in which faces are looked for; the frames between show where they were."""

_DRAWN_PER_SECOND = 30
_DRAWN_SIDE = 1280  # pixels
_CLOCK = 90_000  # ticks in a second of the copy: frames keep their times, 24 a second as well as 30
_BT601 = 6  # FFmpeg's number for how RGB becomes the copy's YUV, which players ask for

# A playlist or a list of pictures would have FFmpeg open further files of this computer.
_FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,ogg,asf,flv,gif,h264,hevc,mjpeg"

# What PyAV raises of damaged files; an index is wrong where a stream was not announced.
_DAMAGE = (av.FFmpegError, ValueError, LookupError, ArithmeticError)


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
        VideoDecodeError: If it cannot be read, or is too long or too large.
    """
    with _opened(source) as (container, stream):
        return _claimed(container, stream)


def has_sound(video: Path) -> bool:
    """Returns whether a video says that it has sound.

    Raises:
        VideoDecodeError: If it cannot be read.
    """
    with _opened(video) as (container, _):
        return bool(container.streams.audio)


def read_video(
    recognizer: EmotionRecognizer, source: Path, annotated: Path | None = None
) -> Iterator[Moment]:
    """Finds and follows the faces of a video, a frame at a time: memory does not grow with it.

    Args:
        recognizer: Reads the frames.
        source: The video file: MP4, MOV, WebM, MKV, AVI and the like. One that breaks off is read
            as far as it goes where its format allows that.
        annotated: Where to write the video with the faces marked, as MP4 (H.264), with its sound
            where that can be read (`has_sound`); None for nowhere. It is there once the last
            moment was taken.

    Yields:
        `READ_PER_SECOND` moments a second, at most.

    Raises:
        VideoDecodeError: If the video cannot be read, is longer than `MAX_SECONDS` or larger than
            `MAX_PIXELS`.
    """
    limit = recognizer.spec.calibration.uncertain_below
    with contextlib.ExitStack() as stack:
        container, stream = stack.enter_context(_opened(source))
        writer = stack.enter_context(_Writer.to(annotated, limit)) if annotated else None
        tracks, slot, start, end = Tracks(), -1, Fraction(0), 0.0
        seen: tuple[Track, ...] = ()
        for frame, stamp in _decoded(container, stream, source):
            if slot < 0:
                start = stamp
            time = float(stamp - start)
            _refuse_long(source, time)
            end = max(end, time + _lasts(frame, stream))
            now = math.floor(time * READ_PER_SECOND + 1e-6)
            reads = now > slot
            if not reads and (writer is None or not writer.wants(time)):
                continue
            picture = _upright(frame, stream)
            if reads:
                slot = now
                tracks = follow(tracks, recognizer.recognize(picture), time)
                seen = tracks.visible(time)
                yield Moment(time, seen)
            if writer is not None and writer.wants(time):
                writer.add(picture, seen, time)
        if slot < 0:
            raise VideoDecodeError(
                f"{source}: has no pictures that can be read; choose another file"
            )
        if writer is not None:
            end = min(end, MAX_SECONDS + 1)
            writer.finish(end)
            if container.streams.audio:
                _add_sound(writer.path, source, start, end)


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
    """The annotated copy: every frame at its time, but never more than `_DRAWN_PER_SECOND`."""

    def __init__(self, path: Path, uncertain_below: float) -> None:
        self.path = path
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._uncertain_below = uncertain_below
        self._stream: Any = None
        self._last: VideoFrame | None = None
        self._written = -1

    @classmethod
    @contextlib.contextmanager
    def to(cls, path: Path, uncertain_below: float) -> "Iterator[_Writer]":
        with replacing(path) as temporary:
            writer = cls(temporary, uncertain_below)
            with writer._container:
                yield writer

    def wants(self, time: float) -> bool:
        """Returns whether a frame of that time would be shown."""
        return self._index(time) > self._written

    def add(self, picture: NDArray[np.uint8], faces: Sequence[Track], time: float) -> None:
        """Shows a frame, with the faces last seen."""
        shown = fit_photo(picture, _DRAWN_SIDE)
        marks = [
            (
                face.box,
                face.label,
                f"{face.number} {face.label}{'?' * (face.confidence < self._uncertain_below)}",
            )
            for face in faces
        ]
        marked = draw_faces(shown, marks, scale=shown.shape[1] / picture.shape[1])
        odd = marked.shape[0] % 2, marked.shape[1] % 2  # which H.264 does not take
        marked = np.pad(marked, ((0, odd[0]), (0, odd[1]), (0, 0)), "edge")
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=_DRAWN_PER_SECOND)
            # Uneven frames in another order than shown would have MP4 end too early: no B-frames.
            self._stream.options = {"preset": "veryfast", "crf": "25", "bf": "0"}
            self._stream.height, self._stream.width = marked.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _CLOCK)
            self._stream.codec_context.colorspace = _BT601
        self._last = VideoFrame.from_ndarray(marked, format="rgb24")
        self._show(time)

    def finish(self, end: float) -> None:
        """Shows the last frame until the end, and writes what the encoder still holds."""
        last = end - 1 / _DRAWN_PER_SECOND
        if self.wants(last):
            self._show(last)
        self._container.mux(self._stream.encode())
        self._container.close()

    def _show(self, time: float) -> None:
        assert self._last is not None
        self._last.pts, self._last.time_base = round(time * _CLOCK), Fraction(1, _CLOCK)
        self._written = self._index(time)
        self._container.mux(self._stream.encode(self._last))

    @staticmethod
    def _index(time: float) -> int:
        # Times in whole milliseconds are a little early; every other of 60 a second is not.
        return math.floor(time * _DRAWN_PER_SECOND + 0.4)


def _add_sound(copy: Path, source: Path, start: Fraction, end: float) -> None:
    # Whatever is wrong with the sound, the copy is there already and stays as it is.
    for encode in (False, True):
        with (
            contextlib.suppress(OSError, *_DAMAGE),
            _opened(source) as (container, _),
            replacing(copy) as film,
        ):
            add_sound(copy, container, start, end, film, encode=encode)
            return


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[Any, VideoStream]]:
    with contextlib.ExitStack() as stack:
        try:
            # A file and not its name, in which FFmpeg would see protocols and patterns.
            file = stack.enter_context(source.open("rb"))
            if file.seek(0, io.SEEK_END) == 0:
                raise VideoDecodeError(f"{source}: is empty (0 bytes); choose another file")
            file.seek(0)
            options = {"format_whitelist": _FORMATS, "max_pixels": str(MAX_PIXELS)}
            container: Any = stack.enter_context(
                av.open(file, options=options, metadata_errors="replace")
            )
        except (av.FFmpegError, UnicodeError) as error:
            raise VideoDecodeError(
                f"{source}: is not a video that can be read; save it as MP4"
            ) from error
        except OSError as error:
            reason = error.strerror or error
            raise VideoDecodeError(f"{source}: cannot be opened: {reason}") from error
        # A song's cover is a stream of one picture.
        cover = Disposition.attached_pic
        streams = [each for each in container.streams.video if not each.disposition & cover]
        if not streams and container.streams.audio:
            raise VideoDecodeError(f"{source}: has no pictures, only sound; choose another file")
        if not streams:
            raise VideoDecodeError(f"{source}: is incomplete; save or download it again")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoDecodeError(f"{source}: is of an unknown kind of video; save it as MP4")
        if stream.width * stream.height > MAX_PIXELS:
            raise VideoDecodeError(
                f"{source}: {stream.width} x {stream.height} pixels are too many, at most "
                f"{MAX_PIXELS / 1e6:.1f} million are read; make it smaller"
            )
        _refuse_long(source, _claimed(container, stream))
        yield container, stream


def _claimed(container: Any, stream: VideoStream) -> float:
    """Returns how long a video says it is, in seconds; 0 where it does not say."""
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / av.time_base)


def _refuse_long(source: Path, seconds: float) -> None:
    if seconds > MAX_SECONDS + 1:
        raise VideoDecodeError(
            f"{source}: must be at most {MAX_SECONDS:.0f} seconds long, received "
            f"{seconds:.0f} seconds or more; cut it shorter"
        )


def _decoded(
    container: Any, stream: VideoStream, source: Path
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Yields frames with their seconds on the file's clock, which need not rise."""
    # A stream may change its size on the way.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.thread_type = "AUTO"
    stamp = None
    try:
        for frame in container.decode(stream):
            if frame.pts is not None:
                stamp = frame.pts * frame.time_base
            else:  # as in raw H.264, whose frames have only an order
                stamp = Fraction(0) if stamp is None else stamp + 1 / _rate(stream)
            yield frame, stamp
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoDecodeError(
            f"{source}: is damaged or incomplete ({reason}); save or download it again"
        ) from error


def _rate(stream: VideoStream) -> Fraction:
    """Returns the frames in a second, where they do not say themselves."""
    return stream.guessed_rate or stream.average_rate or Fraction(25)


def _lasts(frame: VideoFrame, stream: VideoStream) -> float:
    """Returns for how many seconds a frame is shown."""
    ticks = frame.duration * frame.time_base if frame.duration and frame.time_base else 0
    return float(ticks or 1 / _rate(stream))


def _upright(frame: VideoFrame, stream: VideoStream) -> NDArray[np.uint8]:
    """Returns a frame as RGB with square pixels, turned or mirrored as a phone's video asks."""
    shape = stream.sample_aspect_ratio or 1  # of a pixel: width by height
    width = round(frame.width * shape) if 0.5 <= shape <= 2 else frame.width
    picture = np.asarray(frame.to_ndarray(format="rgb24", width=max(1, width)), np.uint8)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        # Where a step to the right (a, b) and a step down (c, d) lead.
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) > abs(a):
            picture, a, d = picture.swapaxes(0, 1), c, b
        picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(picture)

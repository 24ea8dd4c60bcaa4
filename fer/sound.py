"""The sound of a video, for the copy with the faces marked."""

import contextlib
import heapq
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph

_COPIED = ("aac", "mp3")  # what players take from an MP4; all else becomes AAC
_RATE = 48_000  # samples in a second of that AAC
_BIT_RATE = 160_000

# A small file can hold days of silence, and say that they last no time at all.
_MAX_SECONDS = 300  # by the number of samples, not by what the file says
_MAX_PACKETS = 1000 * _MAX_SECONDS
_MAX_SAMPLES = 1 << 22  # in a frame, over all its channels
_MAX_RATE = 768_000


def add_sound(
    pictures: Path, source: Any, start: Fraction, end: float, target: Path, *, encode: bool
) -> None:
    """Writes a silent video again, with the sound of another.

    Args:
        pictures: The silent video, an MP4 that begins at 0.
        source: The opened container with the sound.
        start: Where the pictures begin, in seconds on the source's clock.
        end: When they end, in seconds since then, and the sound with them.
        target: The MP4 to write.
        encode: Whether to encode the sound anew, and not to copy it as it is.

    Raises:
        ValueError: If there is no sound, or it cannot be copied, or is beyond all measure.
        av.FFmpegError: If it cannot be read or written.
    """
    sound = next((each for each in source.streams.audio if each.codec_context), None)
    if sound is None or (not encode and sound.codec.canonical_name not in _COPIED):
        raise ValueError("there is no such sound")
    options = {"movflags": "+faststart"}
    with av.open(str(pictures)) as shown, av.open(str(target), "w", options=options) as film:
        video: Any = film.add_stream_from_template(shown.streams.video[0], opaque=True)
        audio: Any
        if encode:
            audio = film.add_stream("aac", rate=_RATE, layout="stereo", bit_rate=_BIT_RATE)
            heard = _encoded(sound, start, end, audio)
        else:
            audio = film.add_stream_from_template(sound)
            heard = _copied(sound, start, end)
        # In the order of their times, as a player needs them that is still loading.
        packets = heapq.merge(
            ((video, packet) for packet in shown.demux(video=0) if packet.size),
            ((audio, packet) for packet in heard),
            key=lambda item: _time(item[1]),
        )
        silent = True
        for stream, packet in packets:
            packet.stream = stream
            film.mux(packet)
            silent = silent and stream is video
        if silent:
            raise ValueError("there is no sound while the pictures last")


def _time(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


def _copied(sound: AudioStream, start: Fraction, end: float) -> Iterator[Any]:
    kinds: set[tuple[str, str, int]] = set()
    for packet, frames in _decoded(sound):
        kinds.update(_kind(frame) for frame in frames or ())
        # What is damaged or changes on the way stops some players, pictures and all.
        if frames is None or len(kinds) > 1:
            raise ValueError("the sound cannot be copied")
        if packet.pts is None or packet.dts is None:  # as the last, which is empty
            continue
        shift = round(start / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        if _time(packet) >= end:
            return
        # With the packet before the first one, which is not decoded in full without it.
        if packet.dts + 2 * (packet.duration or 0) > 0:
            yield packet


def _encoded(sound: AudioStream, start: Fraction, end: float, audio: AudioStream) -> Iterator[Any]:
    done = 0
    for _, alike in itertools.groupby(_placed(sound, start, end), _kind):
        graph = None
        for frame in itertools.chain(alike, [None]):
            graph = graph or _resampler(frame, done, end)
            # Until it wants the next frame, or is at the end.
            with contextlib.suppress(BlockingIOError, EOFError):
                graph.push(frame)
                while True:
                    ready: Any = graph.pull()
                    done = ready.pts + ready.samples
                    yield from audio.encode(ready)
    yield from audio.encode()


def _resampler(frame: Any, first: int, end: float) -> Graph:
    """Returns what makes such frames stereo, from that sample to the end, gaps filled."""
    form, layout, rate = _kind(frame)
    if rate > _MAX_RATE:
        raise ValueError("the sound has too many samples in a second")
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(
            sample_rate=rate, format=form, layout=layout, time_base=Fraction(1, rate)
        ),
        graph.add(
            "aresample",
            f"{_RATE}:out_chlayout=stereo:out_sample_fmt=fltp:async=1:first_pts={first}",
        ),
        graph.add("atrim", f"end={end:.6f}"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _placed(sound: AudioStream, start: Fraction, end: float) -> Iterator[AudioFrame]:
    """Yields frames with their time since the pictures began, which never goes back."""
    before = after = Fraction(0)
    for _, frames in _decoded(sound):
        for frame in frames or ():
            lasts = Fraction(frame.samples, frame.sample_rate)
            time = after if frame.pts is None else frame.pts * frame.time_base - start
            if time >= end:
                return
            if time + lasts > 0 and max(time, Fraction(0)) >= before:
                before, after = max(time, Fraction(0)), time + lasts
                frame.time_base = Fraction(1, frame.sample_rate)
                frame.pts = round(time * frame.sample_rate)
                yield frame


def _decoded(sound: AudioStream) -> Iterator[tuple[Any, list[Any] | None]]:
    """Yields packets and the frames in them, None where they are damaged."""
    container: Any = sound.container
    sound.codec_context.options = {"max_samples": str(_MAX_SAMPLES)}
    seconds = 0.0
    for count, packet in enumerate(container.demux(sound)):
        frames = None
        with contextlib.suppress(av.FFmpegError):
            frames = packet.decode()
        seconds += sum(frame.samples / frame.sample_rate for frame in frames or ())
        if count > _MAX_PACKETS or seconds > _MAX_SECONDS:
            raise ValueError("the sound is longer than it says")
        yield packet, frames


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate

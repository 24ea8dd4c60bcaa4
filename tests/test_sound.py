"""The sound of a video in its marked copy: flashes and beeps come together, whatever the file."""

import heapq
import itertools
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from fer import sound
from fer.video import has_sound, read_video
from fer.web import video as page

BEEPS = (0.4, 1.5)  # seconds at which the picture is white and a tone begins
LASTS = 0.1
NEAR = 0.04  # a frame of the pictures and a packet of the sound
NOBODY = SimpleNamespace(
    spec=SimpleNamespace(calibration=SimpleNamespace(uncertain_below=0.5)), recognize=lambda _: []
)


def shown(stream, end, offset=0.0, first=0.0):
    """Packets of pictures, 30 a second."""
    for index in range(round(30 * first), round(30 * end)):
        white = any(beep <= index / 30 + 0.001 < beep + LASTS for beep in BEEPS)
        picture = np.full((48, 64, 3), 250 if white else 10, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = index + round(30 * offset), Fraction(1, 30)
        yield from stream.encode(frame)
    yield from stream.encode()


def heard(stream, end, offset=0.0, first=0.0, gap=(9.0, 9.0)):
    """Packets of sound, 0.02 s of it encoded at a time; nothing at all comes in the gap."""
    rate, count = stream.rate, round(stream.rate / 50)
    for start in range(round(rate * first), round(rate * end), count):
        if gap[0] <= start / rate < gap[1]:
            continue
        times = np.arange(start, start + count) / rate
        loud = sum((beep <= times) & (times < beep + LASTS) for beep in BEEPS)
        tone = (loud * np.sin(2000 * np.pi * times) / 2).astype(np.float32)
        channels = np.stack([tone] * stream.layout.nb_channels)
        frame = av.AudioFrame.from_ndarray(channels, "fltp", stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start + round(rate * offset)
        yield from stream.encode(frame)
    yield from stream.encode()


def film(
    path,
    codec="aac",
    *,
    form=None,
    pictures="libx264",
    layout="stereo",
    rate=48_000,
    offset=0.0,
    ends=(2.0, 2.0),
    begins=(0.0, 0.0),
    gap=(9.0, 9.0),
    change=lambda packets: packets,
):
    """Writes a film; ``begins`` and ``ends`` are of pictures and sound, in seconds."""
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream(pictures, rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        # B-frames' times are guesswork in AVI.
        video.options = {"preset": "ultrafast", "bf": "0"} if pictures == "libx264" else {}
        streams = [shown(video, ends[0], offset, begins[0])]
        if codec:
            audio = container.add_stream(codec, rate=rate, layout=layout)
            streams.append(change(heard(audio, ends[1], offset, begins[1], gap)))
        container.start_encoding()
        for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def copy_of(path):
    """Its marked copy; nothing else may be left in the folder."""
    folder = path.parent / "copies"
    folder.mkdir(exist_ok=True)
    list(read_video(NOBODY, path, folder / "out.mp4"))
    assert [each.name for each in folder.iterdir()] == ["out.mp4"]
    return folder / "out.mp4"


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def flashes(path):
    with av.open(str(path)) as container:
        frames = [
            (frame.time, frame.to_ndarray(format="gray").mean() > 128)
            for frame in container.decode(video=0)
        ]
    pairs = itertools.pairwise(frames)
    return [time for (_, before), (time, white) in pairs if white > before]


def samples(path):
    """Its sound's samples and their times."""
    times, values = [], []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono")
        for decoded in container.decode(audio=0):
            for frame in resampler.resample(decoded):
                values.append(frame.to_ndarray()[0])
                times.append(frame.time + np.arange(frame.samples) / frame.sample_rate)
    return np.concatenate(times), np.concatenate(values)


def beeps(path):
    times, values = samples(path)
    loud = times[np.abs(values) > 0.1]
    return [time for before, time in itertools.pairwise([-1, *loud]) if time - before > LASTS]


def length(path):
    with av.open(str(path)) as container:
        return container.duration / av.time_base


def test_the_copy_keeps_its_sound(tmp_path):
    path = film(tmp_path / "clip.mp4")
    copy = copy_of(path)
    with av.open(str(copy)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert flashes(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert beeps(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert length(copy) == pytest.approx(2, abs=NEAR)
    content = copy.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("phone.mp4", {}),
        ("late.mov", {"begins": (0, 0.3)}),
        ("surround.mkv", {"layout": "5.1", "offset": 5}),
        ("camera.ts", {"rate": 44_100}),
        ("old.avi", {"codec": "libmp3lame"}),
        ("song.mp4", {"codec": "libmp3lame", "rate": 44_100}),
    ],
)
def test_sound_that_players_know_is_copied_as_it_is(tmp_path, name, options):
    path = film(tmp_path / name, **options)
    copied, own = packets(copy_of(path)), packets(path)
    if name == "camera.ts":  # whose packets begin with what an MP4 says once
        own = [packet[7:] for packet in own]
    assert len(copied) >= len(own) - 5
    assert copied in [own[first : first + len(copied)] for first in range(6)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("browser.webm", {"codec": "libopus", "pictures": "libvpx", "offset": 3}),
        ("camera.mov", {"codec": "pcm_s16le"}),
        ("old.avi", {"codec": "pcm_u8", "rate": 8000, "layout": "mono"}),
        ("cinema.ts", {"codec": "ac3", "layout": "5.1"}),
        ("tape.mpg", {"codec": "mp2", "pictures": "mpeg2video"}),
        ("lossless.mkv", {"codec": "flac", "rate": 96_000}),
    ],
)
def test_other_sound_becomes_aac(tmp_path, name, options):
    copy = copy_of(film(tmp_path / name, **options))
    with av.open(str(copy)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert flashes(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert beeps(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert length(copy) == pytest.approx(2, abs=NEAR)


copied_or_encoded = pytest.mark.parametrize("codec", ["aac", "libopus"])


@copied_or_encoded
def test_sound_before_the_first_picture_is_cut(tmp_path, codec):
    copy = copy_of(film(tmp_path / "clip.mkv", codec, offset=7, begins=(0.25, 0)))
    assert flashes(copy) == pytest.approx([0.15, 1.25], abs=NEAR)
    assert beeps(copy) == pytest.approx([0.15, 1.25], abs=NEAR)
    assert length(copy) == pytest.approx(1.75, abs=NEAR)


@copied_or_encoded
def test_sound_after_the_last_picture_is_cut(tmp_path, codec):
    copy = copy_of(film(tmp_path / "clip.mkv", codec, ends=(1.0, 3.0)))
    assert beeps(copy) == pytest.approx(BEEPS[:1], abs=NEAR)
    assert length(copy) == pytest.approx(1, abs=NEAR)


@copied_or_encoded
def test_sound_that_begins_late_or_has_a_gap_stays_in_step(tmp_path, codec):
    path = film(tmp_path / "clip.mkv", codec, begins=(0, 0.3), gap=(0.6, 1.2))
    copy = copy_of(path)
    assert beeps(copy) == pytest.approx(BEEPS, abs=NEAR)


@copied_or_encoded
def test_sound_that_ends_early_leaves_the_pictures(tmp_path, codec):
    copy = copy_of(film(tmp_path / "clip.mkv", codec, ends=(2.0, 1.0)))
    assert flashes(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert beeps(copy) == pytest.approx(BEEPS[:1], abs=NEAR)


@copied_or_encoded
def test_sound_wholly_outside_the_pictures_is_left_out(tmp_path, codec):
    copy = copy_of(film(tmp_path / "clip.mkv", codec, ends=(1.0, 3.0), begins=(0.0, 1.5)))
    assert not has_sound(copy)
    assert flashes(copy) == pytest.approx(BEEPS[:1], abs=NEAR)


def test_a_film_of_more_frames_than_are_drawn_stays_in_step(tmp_path, monkeypatch):
    monkeypatch.setattr("fer.video._DRAWN_PER_SECOND", 10)
    copy = copy_of(film(tmp_path / "clip.mp4"))
    assert flashes(copy) == pytest.approx(BEEPS, abs=0.1 + NEAR)
    assert beeps(copy) == pytest.approx(BEEPS, abs=NEAR)


# Odd sound never costs the pictures


def damaged(every, first=0):
    """Spoils every so many packets of a sound, from one on."""

    def change(packets):
        for index, packet in enumerate(packets):
            if index >= first and index % every == 0:
                spoilt = av.Packet(bytes([0xFF] * packet.size))
                spoilt.stream, spoilt.time_base = packet.stream, packet.time_base
                spoilt.pts, spoilt.dts = packet.pts, packet.dts
                spoilt.duration = packet.duration
                packet = spoilt
            yield packet

    return change


@pytest.mark.parametrize("codec", ["aac", "libopus", "ac3"])
def test_damaged_packets_are_left_out_and_the_rest_stays_in_step(tmp_path, codec):
    path = film(tmp_path / "clip.mkv", codec, change=damaged(every=10, first=6))
    copy = copy_of(path)
    assert flashes(copy) == pytest.approx(BEEPS, abs=NEAR)
    assert beeps(copy) == pytest.approx(BEEPS, abs=2 * NEAR)


def broken(path, *replaced):
    """Replaces bytes in a file, which keeps its length."""
    content = path.read_bytes()
    for old, new in replaced:
        assert old in content
        assert len(old) == len(new)
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", ["ac3", "libmp3lame"])
def test_sound_that_changes_on_the_way_is_made_one(tmp_path, codec):
    def change(packets):
        other = av.CodecContext.create(codec, "w")
        other.rate, other.layout, other.format = 44_100, "mono", "fltp"
        for packet in packets:
            if packet.dts * packet.time_base < 0.9:
                stream = packet.stream
                yield packet
        for packet in heard(other, 2.0, first=1.0):
            packet.stream = stream
            yield packet

    copy = copy_of(film(tmp_path / "clip.mkv", codec, change=change))
    with av.open(str(copy)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert beeps(copy) == pytest.approx(BEEPS, abs=NEAR)


def flood(count):
    """So many Opus packets in no time: three bytes for 0.12 seconds of silence each."""

    def change(packets):
        first = next(iter(packets))
        for time in range(count):
            packet = av.Packet(b"\x1b\x02\x00")
            packet.stream, packet.time_base = first.stream, first.time_base
            packet.pts = packet.dts = time
            yield packet

    return change


def unknown(path):
    """Makes a film's sound one of a kind that nothing knows."""
    content = path.read_bytes()
    assert b"A_OPUS" in content
    path.write_bytes(content.replace(b"A_OPUS", b"A_NONE"))
    return path


SILENT = {
    "damaged throughout": lambda path: film(path, "libopus", change=damaged(every=1)),
    "of an unknown kind": lambda path: unknown(film(path, "libopus")),
    "longer than it says": lambda path: film(path, "libopus", form="mp4", change=flood(3000)),
    "faster than sound": lambda path: film(path, "pcm_s16le", rate=2_000_000, ends=(1, 0.1)),
}


@pytest.mark.parametrize("kind", SILENT)
def test_sound_that_cannot_be_kept_leaves_the_pictures_and_a_word(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = SILENT[kind](tmp_path / "clip.mkv")
    assert has_sound(path)
    copy = copy_of(path)
    assert not has_sound(copy)
    assert flashes(copy)[0] == pytest.approx(BEEPS[0], abs=NEAR)
    *_, (marked, _) = page.show(NOBODY, str(path))
    assert "without its sound" in marked


@pytest.mark.parametrize("codec", ["aac", "libopus", None])
def test_the_page_says_nothing_of_sound_that_is_kept_or_never_was(tmp_path, monkeypatch, codec):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = film(tmp_path / "clip.mkv", codec)
    assert has_sound(path) == bool(codec)
    *_, (marked, _) = page.show(NOBODY, str(path))
    assert "<video" in marked
    assert "sound" not in marked


def test_packets_without_end_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sound, "_MAX_PACKETS", 50)
    assert not has_sound(copy_of(film(tmp_path / "clip.mp4")))

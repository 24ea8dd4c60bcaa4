import csv
import gc
import io
import resource
import struct
import sys
import threading
import tracemalloc
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from fer import video
from fer.faces import FaceBox
from fer.image import load_image
from fer.labels import LABELS
from fer.overlay import COLOURS, draw_faces
from fer.recognizer import FaceEmotion
from fer.tables import write_moments
from fer.tracks import Track
from fer.video import (
    MAX_PIXELS,
    READ_PER_SECOND,
    Moment,
    VideoDecodeError,
    duration,
    read_video,
    seconds,
)
from fer.web import video as page

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.png"
PORTRAIT = cv2.resize(load_image(ASTRONAUT), (256, 256), interpolation=cv2.INTER_AREA)
FACE = (88, 36, 47, 47)  # its face: left, top, width, height
GREY = np.full((48, 64, 3), 128, np.uint8)


def write(
    path,
    pictures,
    *,
    rate=30,
    times=None,
    codec="libx264",
    form=None,
    pix_fmt="yuv420p",
    options=None,
    prepare=lambda stream: None,
):
    """Writes a video; ``times`` are in seconds where the frames come unevenly."""
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = {"preset": "ultrafast"} if codec == "libx264" else {}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[index]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def silence():
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
    frame.sample_rate = 8000
    return frame


def moving(count, width=320, height=256, step=4):
    """The portrait, going to the right."""
    pictures = []
    for index in range(count):
        picture = np.full((height, width, 3), 90, np.uint8)
        left = min(index * step, width - 256)
        picture[:256, left : left + 256] = PORTRAIT[:height]
        pictures.append(picture)
    return pictures


def overlap(box, expected):
    """Intersection over union with (left, top, width, height)."""
    x, y, width, height = expected
    across = min(box.x + box.width, x + width) - max(box.x, x)
    down = min(box.y + box.height, y + height) - max(box.y, y)
    common = max(0, across) * max(0, down)
    return common / (box.width * box.height + width * height - common)


class Pretender:
    """Finds one face at the same place in every picture, at once."""

    spec = SimpleNamespace(calibration=SimpleNamespace(uncertain_below=0.4))
    box = FaceBox(10.0, 10.0, 24.0, 24.0, 0.9)

    def __init__(self):
        self.shapes = []

    def recognize(self, picture):
        assert picture.dtype == np.uint8
        assert picture.flags["C_CONTIGUOUS"]
        self.shapes.append(picture.shape)
        probabilities = {label: 0.4 if label == "happy" else 0.1 for label in LABELS}
        tile = np.zeros((4, 4, 3), np.uint8)
        return [FaceEmotion(self.box, "happy", 0.4, False, probabilities, None, tile, (0, 0, 1))]


def times(path, recognizer=None):
    return [moment.time for moment in read_video(recognizer or Pretender(), path)]


def decoded(path):
    """A video's pictures with their times."""
    with av.open(str(path)) as container:
        return [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def length(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return float(stream.duration * stream.time_base)


# What is seen


def test_a_moving_face_keeps_its_number_and_its_expression(recognizer, tmp_path):
    path = write(tmp_path / "walk.mp4", moving(30, width=420, step=5))
    moments = list(read_video(recognizer, path))
    assert len(moments) == READ_PER_SECOND
    for moment in moments:
        (face,) = moment.faces
        x, y, width, height = FACE
        assert overlap(face.box, (x + 5 * round(30 * moment.time), y, width, height)) > 0.6
        assert (face.number, face.label) == (1, "happy")


def test_a_video_without_a_face_has_moments_without_faces(recognizer, tmp_path, no_face):
    path = write(tmp_path / "waves.mp4", [load_image(no_face)] * 5, rate=5)
    moments = list(read_video(recognizer, path, tmp_path / "out.mp4"))
    assert [moment.faces for moment in moments] == [()] * 5
    assert seconds(moments, 0.5) == []
    assert len(decoded(tmp_path / "out.mp4")) >= 5


# A phone's matrix (ISO/IEC 14496-12, 6.2.2) as it stands in the file, and what it asks of a player
TURNS = {
    "upright": ((1, 0, 0, 1), lambda picture: picture),
    "clockwise": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "anticlockwise": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "over one diagonal": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
    "over the other": ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).swapaxes(0, 1)),
}


def turned(path, matrix):
    """Puts a display matrix into an MP4's track header."""
    content = bytearray(path.read_bytes())
    a, b, c, d = (65536 * value for value in matrix)
    start = content.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", content, start) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", content, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_phone_gives_upright_pictures(turn, tmp_path):
    matrix, shown = TURNS[turn]
    stored = np.full((64, 96, 3), 20, np.uint8)
    stored[:32, :48], stored[:32, 48:], stored[32:, :48] = (
        (220, 30, 30),
        (30, 220, 30),
        (30, 30, 220),
    )
    path = turned(write(tmp_path / "phone.mp4", [stored], codec="libx264"), matrix)
    received = []
    pretender = Pretender()
    pretender.recognize = lambda picture: received.append(picture) or []
    list(read_video(pretender, path))
    expected = shown(stored)
    assert received[0].shape == expected.shape
    assert np.abs(received[0].astype(int) - expected).mean() < 12


def test_the_face_of_a_turned_video_is_found_upright(recognizer, tmp_path):
    stored = np.rot90(moving(1)[0])  # the phone was held so; the player turns it clockwise
    path = turned(write(tmp_path / "phone.mp4", [stored] * 2), TURNS["clockwise"][0])
    (moment,) = read_video(recognizer, path, tmp_path / "out.mp4")
    assert overlap(moment.faces[0].box, FACE) > 0.6
    assert decoded(tmp_path / "out.mp4")[0][1].shape == (256, 320, 3)


def test_pixels_that_are_not_square_are_made_so(recognizer, tmp_path):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    narrow = cv2.resize(PORTRAIT, (192, 256), interpolation=cv2.INTER_AREA)
    path = write(tmp_path / "tape.mp4", [narrow] * 2, prepare=prepare)
    (moment,) = read_video(recognizer, path, tmp_path / "out.mp4")
    assert overlap(moment.faces[0].box, FACE) > 0.6
    assert decoded(tmp_path / "out.mp4")[0][1].shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("libx264", "yuv420p10le"),
        ("ffv1", "bgra"),
        ("ffv1", "gray"),
        ("ffv1", "gray16le"),
        ("ffv1", "yuva444p16le"),
    ],
)
def test_every_pixel_format_shows_the_face(recognizer, tmp_path, codec, pix_fmt):
    path = write(tmp_path / "odd.mkv", [PORTRAIT], codec=codec, pix_fmt=pix_fmt)
    (moment,) = read_video(recognizer, path, tmp_path / "out.mp4")
    assert overlap(moment.faces[0].box, FACE) > 0.6


# When it is seen


@pytest.mark.parametrize(
    ("rate", "form"),
    [(10, "mp4"), (24, "mkv"), (25, "mov"), (30, "mp4"), (30, "mkv"), (50, "avi"), (60, "mkv")],
)
def test_ten_frames_a_second_are_read(tmp_path, rate, form):
    path = write(tmp_path / f"clip.{form}", [GREY] * (2 * rate), rate=rate)
    found = times(path)
    assert [sum(int(time) == second for time in found) for second in (0, 1)] == [10, 10]
    assert found == sorted(set(found))
    assert np.allclose(found, np.arange(20) / 10, atol=1 / rate)


def test_a_slow_video_is_read_frame_by_frame(tmp_path):
    path = write(tmp_path / "slow.mp4", [GREY] * 8, rate=4)
    assert times(path) == [index / 4 for index in range(8)]


def test_uneven_frames_are_never_read_more_often(tmp_path):
    rng = np.random.default_rng(0)
    shown = np.cumsum(rng.choice([0.002, 0.01, 0.033, 0.1, 0.4], 120))
    shown -= shown[0]
    path = write(tmp_path / "uneven.mp4", [GREY] * 120, times=shown)
    found = times(path)
    counts = np.bincount(np.floor(np.array(found) * READ_PER_SECOND + 1e-6).astype(int))
    assert counts.max() == 1
    # Every tenth of a second in which a frame came has its moment.
    assert counts.sum() == len(set(np.floor(np.round(1000 * shown) / 100).astype(int)))
    assert set(np.round(found, 3)) <= set(np.round(shown, 3))


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts"])
def test_time_begins_with_the_first_frame(tmp_path, form):
    shown = 5 + np.arange(30) / 30
    path = write(tmp_path / "late", [GREY] * 30, times=shown, form=form)
    found = times(path)
    assert len(found) == 10
    assert np.allclose(found, np.arange(10) / 10, atol=0.002)


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("mjpeg", "mjpeg")])
def test_frames_without_times_are_read_in_their_order(tmp_path, codec, form):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    pictures = moving(50, width=300, step=1)
    path = write(
        tmp_path / f"raw.{form}", pictures, rate=25, codec=codec, form=form, pix_fmt=pix_fmt
    )
    assert duration(path) == 0
    found = times(path)
    assert len(found) == 20
    assert np.allclose(found, np.arange(20) / 10, atol=0.04)


def test_frames_whose_times_go_back_do_not_turn_time_back(tmp_path):
    # What AVI says of the order of H.264's frames is hardly ever right.
    path = write(tmp_path / "clip.avi", moving(40), prepare=lambda s: s.options.clear())
    found = times(path)
    assert found == sorted(set(found))
    assert found[-1] > 1


def test_a_stream_that_changes_its_size_is_read_to_its_end(tmp_path):
    small = write(tmp_path / "small.h264", [GREY] * 10, form="h264")
    large = write(tmp_path / "large.h264", [np.full((128, 160, 3), 60, np.uint8)] * 10, form="h264")
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    pretender = Pretender()
    found = list(read_video(pretender, both, tmp_path / "out.mp4"))
    assert set(pretender.shapes) == {(48, 64, 3), (128, 160, 3)}
    assert found[-1].time > 0.5
    assert {picture.shape for _, picture in decoded(tmp_path / "out.mp4")} == {(48, 64, 3)}


# What is refused


def refusal(path, recognizer=None):
    """The one line with which a video is refused; nothing may be left of it."""
    folder = path.parent / "copies"
    folder.mkdir()
    with pytest.raises(VideoDecodeError) as caught:
        list(read_video(recognizer or Pretender(), path, folder / "out.mp4"))
    assert list(folder.iterdir()) == []
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "Errno" not in message
    return message


def test_a_text_file_is_no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 1000)
    assert "is not a video that can be read; save it as MP4" in refusal(path)


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "is empty (0 bytes)" in refusal(path)


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    assert "cannot be opened: No such file" in refusal(tmp_path / "gone.mp4")
    with pytest.raises(VideoDecodeError, match="cannot be opened: Is a directory"):
        duration(tmp_path)


def test_a_photo_is_no_video(tmp_path):
    path = tmp_path / "photo.mp4"
    path.write_bytes(ASTRONAUT.read_bytes())
    assert "is not a video that can be read" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
    ],
    ids=["concat", "playlist"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".ffconcat", ".m3u8"])
def test_a_list_of_files_does_not_open_them(tmp_path, content, suffix):
    write(tmp_path / "other.mp4", [GREY] * 3)
    path = tmp_path / f"list{suffix}"
    path.write_text(content)
    assert "is not a video that can be read" in refusal(path)


def test_a_name_is_never_a_pattern_or_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("%03d.mp4", "concat:a.mp4", "-", "data:video"):
        write(tmp_path / "clip.mp4", [GREY] * 3).rename(name)
        assert len(times(Path(name))) == 1


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_says_so(tmp_path, cover):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(GREY, format="rgb24")
            container.mux(picture.encode(frame))
            container.mux(picture.encode())
        container.mux(stream.encode(silence()))
        container.mux(stream.encode())
    assert "has no pictures, only sound" in refusal(path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
@pytest.mark.parametrize(
    "options", [None, {"movflags": "+faststart"}], ids=["index last", "index first"]
)
def test_a_truncated_file_says_so(tmp_path, share, options):
    path = write(tmp_path / "whole.mp4", moving(10), options=options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert ("is not a video that can be read" in message) or ("incomplete" in message)
    assert "sound" not in message


def test_a_video_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "clip.ts", moving(60))
    whole = times(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    found = times(path)
    assert 5 < len(found) < len(whole)
    assert found == whole[: len(found)]


@pytest.mark.parametrize("sure", [True, False])
def test_a_long_video_is_refused(tmp_path, monkeypatch, sure):
    monkeypatch.setattr(video, "MAX_SECONDS", 2.0)
    form = "mp4" if sure else "mjpeg"
    codec, pix_fmt = ("libx264", "yuv420p") if sure else ("mjpeg", "yuvj420p")
    path = write(
        tmp_path / f"long.{form}", [GREY] * 100, rate=25, codec=codec, form=form, pix_fmt=pix_fmt
    )
    pretender = Pretender()
    message = refusal(path, pretender)
    assert "must be at most 2 seconds long" in message
    assert message.endswith("cut it shorter")
    # Where the file says how long it is, nothing is read for it.
    assert (pretender.shapes == []) == sure
    if sure:
        assert "received 4 seconds" in message
        with pytest.raises(VideoDecodeError, match="at most 2 seconds"):
            duration(path)


def test_a_video_of_the_longest_length_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "MAX_SECONDS", 2.0)
    path = write(tmp_path / "clip.mp4", [GREY] * 61)  # a frame too long
    assert duration(path) == pytest.approx(2.03, abs=0.01)
    assert len(times(path)) == 21


def test_a_huge_picture_is_refused_unread(tmp_path):
    path = tmp_path / "huge.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 4608, 2592, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(4608, 2592, "yuv420p")))
        container.mux(stream.encode())
    pretender = Pretender()
    message = refusal(path, pretender)
    assert "4608 x 2592 pixels are too many, at most 9.4 million are read" in message
    assert pretender.shapes == []
    assert MAX_PIXELS < 4608 * 2592


def test_a_stream_that_becomes_huge_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "MAX_PIXELS", 100 * 100)
    small = write(tmp_path / "small.h264", [GREY] * 10, form="h264")
    large = write(tmp_path / "large.h264", [np.full((128, 160, 3), 60, np.uint8)] * 10, form="h264")
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() * 20 + large.read_bytes())
    pretender = Pretender()
    assert "is damaged or incomplete" in refusal(path, pretender)
    assert set(pretender.shapes) == {(48, 64, 3)}


def test_a_title_in_another_alphabet_is_no_reason_to_refuse(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "caXXX"
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(GREY, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"caXXX", b"caf\xe9!"))
    assert len(times(path)) == 1


# The copy


def box_colour(picture, box, scale=1.0):
    """The strongest colour along the lower edge of a box, where no text is."""
    y = round((box.y + box.height) * scale)
    left, right = (round((box.x + box.width * share) * scale) for share in (0.25, 0.75))
    rows = picture[y - 1 : y + 2, left:right].mean(1)
    return rows[np.argmax(np.ptp(rows, axis=1))]


@pytest.mark.parametrize("size", [(320, 256), (321, 257), (1400, 1120)], ids=str)
def test_the_copy_plays_in_a_page_and_shows_the_boxes(recognizer, tmp_path, size):
    width, height = size
    pictures = [
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
        for picture in moving(6, step=5)
    ]
    source = write(tmp_path / "clip.mkv", pictures, codec="libx264", rate=15, pix_fmt="yuv444p")
    copy = tmp_path / "out.mp4"
    moments = {m.time: m.faces for m in read_video(recognizer, source, copy)}
    with av.open(str(copy)) as container:
        (stream,) = container.streams
        codec = stream.codec_context
        assert (container.format.name[:7], codec.name, codec.pix_fmt) == (
            "mov,mp4",
            "h264",
            "yuv420p",
        )
        assert codec.width % 2 == codec.height % 2 == 0
        assert max(codec.width, codec.height) <= 1280
        assert abs(codec.width / codec.height - width / height) < 0.01
        assert min(codec.width, 1279) >= min(width, 1279)
    # A page starts to play it before all of it is there.
    content = copy.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    shown = dict(decoded(copy))
    assert length(copy) == pytest.approx(6 / 15, abs=0.1)
    scale = min(1, 1280 / width)
    happy = np.array(list(bytes.fromhex(COLOURS["happy"][1:])))
    for time, picture in shown.items():
        faces = [faces for begun, faces in moments.items() if begun <= time + 0.002][-1]
        (face,) = faces
        assert face.label == "happy"
        assert np.abs(box_colour(picture, face.box, scale) - happy).max() < 60
    assert len(shown) >= 6


def test_the_copy_shows_no_box_where_no_face_is_any_more(recognizer, tmp_path):
    empty = np.full((256, 320, 3), 90, np.uint8)
    source = write(tmp_path / "clip.mp4", [*moving(5, step=0), *[empty] * 5], rate=10)
    moments = list(read_video(recognizer, source, tmp_path / "out.mp4"))
    assert [len(moment.faces) for moment in moments] == [1] * 5 + [0] * 5
    for time, picture in decoded(tmp_path / "out.mp4"):
        assert (np.abs(picture.astype(int) - 90).max() < 30) == (time > 0.45)


@pytest.mark.parametrize("rate", [2, 10, 24, 25, 30, 60])
def test_the_copy_is_as_long_and_as_smooth_as_the_source(tmp_path, rate):
    source = write(tmp_path / "clip.mp4", [GREY] * (2 * rate), rate=rate)
    list(read_video(Pretender(), source, tmp_path / "out.mp4"))
    assert length(tmp_path / "out.mp4") == pytest.approx(length(source), abs=0.05)
    shown = [time for time, _ in decoded(tmp_path / "out.mp4")]
    if rate > 30:
        assert np.allclose(shown, np.arange(60) / 30, atol=0.001)
    else:
        assert np.allclose(shown[: 2 * rate], np.arange(2 * rate) / rate, atol=0.001)


def test_the_copy_of_an_uneven_video_keeps_its_times(tmp_path):
    shown = np.array([0, 0.05, 0.4, 1.4, 1.45, 3.0])
    source = write(tmp_path / "clip.mkv", [GREY] * 6, times=3 + shown)
    list(read_video(Pretender(), source, tmp_path / "out.mp4"))
    found = [time for time, _ in decoded(tmp_path / "out.mp4")]
    assert np.allclose(found[:6], shown, atol=0.002)
    assert length(tmp_path / "out.mp4") == pytest.approx(3.05, abs=0.1)


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (3, 2000), (2000, 3)], ids=str)
def test_the_copy_may_be_tiny(tmp_path, size):
    picture = np.full((size[1], size[0], 3), 100, np.uint8)
    source = write(tmp_path / "clip.mkv", [picture] * 2, codec="ffv1", pix_fmt="bgra")
    list(read_video(Pretender(), source, tmp_path / "out.mp4"))
    assert len(decoded(tmp_path / "out.mp4")) == 2


def test_the_copy_is_there_only_once_it_is_whole(tmp_path):
    source = write(tmp_path / "clip.mp4", [GREY] * 30)
    folder = tmp_path / "copies"
    folder.mkdir()
    reading = read_video(Pretender(), source, folder / "out.mp4")
    for _ in range(5):
        next(reading)
    assert not (folder / "out.mp4").exists()
    list(reading)
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("taken", [1, 5])
def test_who_stops_half_way_leaves_no_file(tmp_path, taken):
    source = write(tmp_path / "clip.mp4", [GREY] * 30)
    folder = tmp_path / "copies"
    folder.mkdir()
    reading = read_video(Pretender(), source, folder / "out.mp4")
    for _ in range(taken):
        next(reading)
    reading.close()
    assert list(folder.iterdir()) == []


def test_a_failing_recogniser_leaves_no_file(tmp_path):
    source = write(tmp_path / "clip.mp4", [GREY] * 30)
    folder = tmp_path / "copies"
    folder.mkdir()
    pretender = Pretender()
    pretender.recognize = lambda _: 1 // (len(pretender.shapes) - 1)
    with pytest.raises(TypeError):
        list(read_video(pretender, source, folder / "out.mp4"))
    assert list(folder.iterdir()) == []


def test_a_label_stays_within_the_picture():
    photo = np.full((100, 200, 3), 128, np.uint8)
    for x, y in [(-20, -60), (190, -90), (5, 95), (5, 2)]:
        drawn = draw_faces(photo, [(FaceBox(x, y, 80, 100, 1), "sad", "12 sad")])
        assert drawn.shape == photo.shape
        assert (drawn == 17).all(axis=2).sum() > 200  # the text's ground
    assert (photo == 128).all()


# What becomes of it


def track(number, **probabilities):
    rest = (1 - sum(probabilities.values())) / (len(LABELS) - len(probabilities))
    values = tuple(probabilities.get(label, rest) for label in LABELS)
    return Track(number, FaceBox(1.5, -2.25, 30, 40, 0.75), values, 0.0)


def test_seconds_are_the_mean_of_their_moments():
    moments = [
        Moment(0.0, (track(1, happy=0.9), track(2, sad=0.8))),
        Moment(0.9, (track(1, happy=0.2, sad=0.7),)),
        Moment(1.0, (track(1, fear=0.3),)),
        Moment(2.5, ()),
        Moment(11.25, (track(2, neutral=1.0),)),
    ]
    rows = seconds(moments, 0.5)
    assert [(row.second, row.number, row.label) for row in rows] == [
        (0, 1, "happy"),
        (0, 2, "sad"),
        (1, 1, "fear"),
        (11, 2, "neutral"),
    ]
    assert [row.confidence for row in rows] == pytest.approx([0.55, 0.8, 0.3, 1.0])
    assert [row.uncertain for row in rows] == [False, False, True, False]
    assert rows[0].probabilities[LABELS.index("sad")] == pytest.approx((0.1 / 6 + 0.7) / 2)
    assert all(sum(row.probabilities) == pytest.approx(1) for row in rows)


def test_the_table_can_be_read_back():
    file = io.StringIO()
    moments = [
        Moment(0.0, (track(1, happy=0.9), track(2, sad=0.4))),
        Moment(0.1, ()),
        Moment(61 + 1 / 3, (track(1, angry=0.5),)),
    ]
    write_moments(file, moments, 0.45)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [(float(row["time"]), int(row["face"])) for row in rows] == [
        (0.0, 1),
        (0.0, 2),
        (61.333, 1),
    ]
    assert [row["label"] for row in rows] == ["happy", "sad", "angry"]
    assert [row["uncertain"] for row in rows] == ["false", "true", "false"]
    first = {name: float(rows[0][name]) for name in ("x", "y", "width", "height", "score")}
    assert FaceBox(**first) == moments[0].faces[0].box
    for row, face in zip(rows, [f for m in moments for f in m.faces], strict=True):
        assert [float(row[label]) for label in LABELS] == pytest.approx(
            face.probabilities, abs=1e-6
        )
        assert float(row["confidence"]) == pytest.approx(face.confidence, abs=1e-6)


# What it costs


def peak_memory():
    """The most bytes that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_does_not_grow_with_the_length(tmp_path):
    picture = cv2.resize(PORTRAIT, (480, 270))
    short = write(tmp_path / "short.mp4", [picture] * 10)
    long = write(tmp_path / "long.mp4", [picture] * 70)

    def peak(path):
        gc.collect()
        tracemalloc.start()
        try:
            for _ in read_video(Pretender(), path, tmp_path / "out.mp4"):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    little = peak(short)
    peak(long)  # now the encoder's own queue is full
    before = peak_memory()
    much = peak(long)
    one = picture.nbytes
    assert little > one  # pictures are counted
    assert much - little < one
    assert peak_memory() - before < 30 * one  # of 70


def test_files_are_closed(tmp_path, recwarn):
    source = write(tmp_path / "clip.mp4", [GREY] * 30)
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    opened = set(Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else None
    for _ in range(3):
        duration(source)
        times(source)
        reading = read_video(Pretender(), source, tmp_path / "out.mp4")
        next(reading)
        reading.close()
        with pytest.raises(VideoDecodeError):
            times(notes)
    gc.collect()
    assert not recwarn.list
    if opened is not None:
        assert len(set(Path("/proc/self/fd").iterdir())) <= len(opened)


def test_threads_read_videos_at_the_same_time(recognizer, tmp_path):
    sources = [write(tmp_path / f"{step}.mp4", moving(5, step=step), rate=10) for step in (0, 3, 6)]
    expected = [list(read_video(recognizer, source)) for source in sources]
    found = {}

    def work(number):
        found[number] = list(
            read_video(recognizer, sources[number], tmp_path / f"{number}.out.mp4")
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(3)] == expected
    assert [length(tmp_path / f"{number}.out.mp4") for number in range(3)] == [
        pytest.approx(0.5, abs=0.01)
    ] * 3


# The page


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the page keeps its videos; nothing is forgotten meanwhile."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads" / "fer-videos"


def test_the_page_shows_the_video_and_what_was_seen(recognizer, tmp_path, folder):
    source = write(tmp_path / "clip.mp4", moving(15), rate=10)
    *progress, (marked, result) = page.show(recognizer, str(source))
    assert all(html == "" and "Reading the video" in text for html, text in progress)
    (file,) = folder.glob("*/*")
    assert file.as_posix() in marked
    assert "Face 1" in result
    assert "0:01" in result


def test_the_page_keeps_nothing_of_a_video_that_fails(tmp_path, folder):
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    *_, (marked, result) = page.show(Pretender(), str(path))
    assert marked == ""
    assert "notes.mp4: is not a video" in result
    assert str(tmp_path) not in result
    assert list(folder.iterdir()) == []


def test_the_page_keeps_nothing_of_a_video_that_is_cancelled_at_the_last_moment(tmp_path, folder):
    showing = page.show(Pretender(), str(write(tmp_path / "clip.mp4", [GREY] * 6)))
    assert any("<video" in marked for marked, _ in iter(showing.__next__, None))
    showing.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("taken", [1, 3])
def test_the_page_keeps_nothing_of_a_video_that_is_cancelled(tmp_path, folder, monkeypatch, taken):
    monkeypatch.setattr(page, "_STEP", 0.0)
    showing = page.show(Pretender(), str(write(tmp_path / "clip.mp4", [GREY] * 60)))
    for _ in range(taken):
        next(showing)
    assert len(list(folder.iterdir())) == 1
    showing.close()
    assert list(folder.iterdir()) == []

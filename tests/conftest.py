"""Fixtures shared by several test modules."""

import shutil
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.png"


# `gradio.utils.safe_get_lock` and `safe_get_stop_event` make event loops, each with a pair of Unix
# sockets, that nobody closes: they are collected in the middle of any later test, or at the end.
# And Gradio's queue sums itself up with what pandas 3 calls deprecated.
GRADIO_WARNINGS = (
    (r"unclosed event loop", ResourceWarning),
    (r"unclosed <socket\.socket fd=\d+, family=1, type=1, proto=0", ResourceWarning),
    (r"'future\.no_silent_downcasting' is deprecated", DeprecationWarning),
    (r"The copy keyword is deprecated", DeprecationWarning),
)


def pytest_configure(config):
    for message, category in GRADIO_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}")
        warnings.filterwarnings("ignore", message, category)  # after the last test


@pytest.fixture
def astronaut():
    """A public-domain portrait, 512 x 512: one smiling face."""
    return ASTRONAUT


@pytest.fixture(scope="session")
def group(tmp_path_factory):
    """A photo of three faces of different sizes: the largest on the right, then left, middle."""
    with Image.open(ASTRONAUT) as image:
        portrait = image.convert("RGB").crop((100, 0, 350, 300))
    picture = Image.new("RGB", (1000, 480), (150, 165, 180))
    picture.paste(portrait.resize((300, 360)), (20, 90))
    picture.paste(portrait.resize((200, 240)), (360, 180))
    picture.paste(portrait.resize((375, 450)), (600, 20))
    path = tmp_path_factory.mktemp("photos") / "group.png"
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def no_face(tmp_path_factory):
    """A colourful picture without a face."""
    y, x = np.mgrid[:300, :400].astype(np.float32)
    waves = np.stack([np.sin(x / 23), np.cos(y / 31), np.sin((x + y) / 47)], axis=2)
    path = tmp_path_factory.mktemp("photos") / "waves.jpg"
    Image.fromarray((127 + 120 * waves).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """The handover to phone developers, unpacked; its page is not filled."""
    from export.phone import handover, page
    from fer.recognizer import DEFAULT_BUNDLE

    folder = tmp_path_factory.mktemp("handover")
    handover.write(folder / "phone.zip", DEFAULT_BUNDLE, page.SOURCE)
    shutil.unpack_archive(folder / "phone.zip", folder / "phone")
    return folder / "phone"


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Two seconds of the portrait, moving slowly to the right, and a tone."""
    import av

    with Image.open(ASTRONAUT) as image:
        portrait = np.asarray(image.convert("RGB").resize((360, 360)))
    path = tmp_path_factory.mktemp("videos") / "portrait.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono")
        tone = np.sin(np.arange(16000) / 3)[None].astype(np.float32)
        heard = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        heard.sample_rate = 8000
        container.mux(sound.encode(heard) + sound.encode())
        for index in range(30):
            frame = np.full((360, 480, 3), 120, np.uint8)
            frame[:, 2 * index : 2 * index + 360] = portrait
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def recognizer():
    """The shipped model, loaded once."""
    from fer.recognizer import EmotionRecognizer

    return EmotionRecognizer.from_bundle()


@pytest.fixture(scope="session")
def uploads(tmp_path_factory):
    """Where the app keeps what visitors sent."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def server(recognizer, uploads, tmp_path_factory):
    """The address of the app, running with the shipped model and a card of the tests' own."""
    from fer.recognizer import DEFAULT_BUNDLE
    from fer.web import page
    from fer.web.server import serve

    bundle = tmp_path_factory.mktemp("app") / "model"
    shutil.copytree(DEFAULT_BUNDLE, bundle, ignore=shutil.ignore_patterns("*.keras"))
    card = "---\nlicense: apache-2.0\n---\n# Card of the test\n"
    (bundle / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        demo = page.build(recognizer, bundle)
        yield serve(demo, recognizer.spec, "127.0.0.1", free_port())
        demo.close()


def free_port():
    """Returns a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def inference():
    """The shipped checkpoint's inference model."""
    from fer.nn import model as models
    from fer.recognizer import DEFAULT_BUNDLE

    checkpoint = models.load_checkpoint(DEFAULT_BUNDLE / "model.keras")
    return models.inference_model(checkpoint, "blend")


@pytest.fixture(scope="session")
def float32(inference):
    """Its float32 file's content."""
    from fer.nn.convert import convert

    return convert(inference)

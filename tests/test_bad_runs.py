"""Training runs that cannot start or go on: one clear line, and nothing that was good is lost."""

import errno
import hashlib

import keras
import numpy as np
import pytest

from fer.labels import LABELS
from tests.process import call
from tests.synthetic import drawn, rows, small_network, tree, write_csv, write_tree

pytestmark = pytest.mark.slow

DATA = drawn({"Training": 2, "PublicTest": 1})


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Runs the command on a small network; returns its exit code and what it said last."""
    import train.__main__ as command
    from fer.nn import model as models

    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "build", small_network)

    def start(data, *more):
        options = ("--recipe", "smoke", "--init", "none", "--data", data, "--out", tmp_path / "run")
        code, _, errors = call(command._main, *options, *more)
        lines = [line for line in errors.splitlines() if "error: " in line]
        return code, lines[-1] if lines else ""

    return start


def hashes(folder):
    files = (path for path in folder.rglob("*.keras"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_class_without_images_is_named(train, tmp_path):
    data = DATA.take(~((DATA.labels == LABELS.index("disgust")) & (DATA.splits == "Training")))
    code, said = train(write_csv(tmp_path / "fer2013.csv", rows(data)))
    assert code == 2
    assert "disgust" in said
    assert not hashes(tmp_path)


def test_one_image_is_too_few(train, tmp_path):
    code, said = train(write_csv(tmp_path / "fer2013.csv", rows(DATA)[:2]))
    assert code == 2
    assert said.startswith("error: ")
    assert not hashes(tmp_path)


def test_a_folder_of_another_label_is_named(train, tmp_path):
    files = {name.replace("/happy/", "/joy/"): content for name, content in tree(DATA).items()}
    code, said = train(write_tree(tmp_path / "data", files))
    assert code == 2
    assert "class folder must be one of" in said
    assert "'joy'" in said


def test_a_full_disk_ends_the_run_with_the_last_checkpoint_whole(train, tmp_path, monkeypatch):
    data = write_csv(tmp_path / "fer2013.csv", rows(DATA))
    save = keras.Model.save
    saved = []

    def until_full(model, path, *arguments, **options):
        saved.append(path)
        if len(saved) > 2:  # best.keras and the first epoch's checkpoint
            path.write_bytes(b"half a f")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return save(model, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", until_full)
        code, said = train(data)
    assert code == 1
    assert "No space left on device" in said
    kept = hashes(tmp_path / "run")
    assert set(kept) == {"best.keras", "last-0-1.keras"}
    code, _ = train(data, "--resume")
    assert code == 0
    assert "last-2-0.keras" in hashes(tmp_path / "run")


def test_a_corrupted_checkpoint_is_named_and_left_alone(train, tmp_path):
    data = write_csv(tmp_path / "fer2013.csv", rows(DATA))
    assert train(data, "--epochs", "1") == (0, "")
    (checkpoint,) = (tmp_path / "run").glob("last-*.keras")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    before = hashes(tmp_path / "run")
    code, said = train(data, "--epochs", "1", "--resume")
    assert code != 0
    assert f"{checkpoint.name} cannot be loaded" in said
    assert hashes(tmp_path / "run") == before


def test_images_that_say_nothing_do_not_break_a_run(train, tmp_path):
    """Ten black pictures are duplicates of each other: what is left lacks classes."""
    images = np.zeros_like(DATA.images)
    blank = type(DATA)(images, DATA.labels, DATA.splits, DATA.names, DATA.votes)
    code, said = train(write_csv(tmp_path / "fer2013.csv", rows(blank)))
    assert code == 2
    assert said.startswith("error: ")

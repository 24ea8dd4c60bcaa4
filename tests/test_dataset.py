import shutil

import numpy as np
import pytest

from fer.labels import LABELS
from fer.nn import dataset
from tests.synthetic import drawn, png, rows, tree, write_csv, write_tree, write_zip

DATA = drawn({"Training": 2, "PublicTest": 1, "PrivateTest": 1})


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))


def forms(folder):
    return {
        "csv": write_csv(folder / "fer2013.csv", rows(DATA)),
        "folder": write_tree(folder / "folder", tree(DATA)),
        "zip": write_zip(folder / "fer2013.zip", tree(DATA)),
    }


@pytest.mark.parametrize("form", ["csv", "folder", "zip"])
def test_every_form_gives_the_same_images_labels_and_splits(tmp_path, form):
    loaded = dataset.load(forms(tmp_path)[form])
    by_pixels = {image.tobytes(): i for i, image in enumerate(DATA.images)}
    order = [by_pixels[image.tobytes()] for image in loaded.images]
    assert sorted(order) == list(range(len(DATA)))
    assert loaded.labels.tolist() == DATA.labels[order].tolist()
    assert loaded.splits.tolist() == DATA.splits[order].tolist()
    assert loaded.class_counts() == dict.fromkeys(LABELS, 4)


@pytest.mark.parametrize("form", ["csv", "folder", "zip"])
def test_the_second_start_reads_decoded_arrays_and_a_changed_file_does_not(
    tmp_path, form, monkeypatch
):
    path = forms(tmp_path)[form]
    first = dataset.load(path)

    def refuse(*_):
        raise AssertionError("the images were decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(dataset, "_assemble", refuse)
        again = dataset.load(path)
    assert np.array_equal(again.images, first.images)
    assert again.names.tolist() == first.names.tolist()

    if form == "csv":
        write_csv(path, rows(DATA)[:-1])
    elif form == "folder":
        shutil.rmtree(path / "train" / "happy")
    else:
        write_zip(path, dict(list(tree(DATA).items())[:-1]))
    assert len(dataset.load(path)) < len(first)


def with_row(index, line):
    lines = rows(DATA)
    lines[index] = line
    return lines


PIXELS = " ".join(["7"] * 2304)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (with_row(3, f"0,{PIXELS[:-2]},Training"), r"row 4: must have 2304 pixels.*received 2303"),
        (with_row(3, f"0,300{PIXELS[1:]},Training"), r"row 4: pixels must be 0 to 255.*300"),
        (with_row(3, f"0,-1{PIXELS[1:]},Training"), r"row 4: pixels must be 0 to 255.*-1"),
        (with_row(3, f"0,{'9' * 30}{PIXELS[1:]},Training"), r"row 4: pixels must be whole numbers"),
        (with_row(3, f'0,"{PIXELS},Training'), r"row 4: must have 3 columns"),
        (with_row(3, f"0,x{PIXELS[1:]},Training"), r"row 4: pixels must be whole numbers"),
        (with_row(3, f"7,{PIXELS},Training"), r"row 4: emotion must be 0 to 6, received '7'"),
        (with_row(3, f"0,{PIXELS},Testing"), r"row 4: Usage must be one of.*'Testing'"),
        (with_row(3, f"0,{PIXELS}"), r"row 4: must have 3 columns, received 2"),
        (with_row(3, "emotion,pixels,Usage"), r"row 4: repeats the header; remove that row"),
        (with_row(0, "emotion,emotion,pixels,Usage"), r"row 1: header must be emotion,pixels,Us"),
        ([""], r"row 1: header must be"),
        (["emotion,pixels,Usage"], r"holds no image"),
    ],
)
def test_a_broken_csv_is_refused_with_its_row_and_what_to_do(tmp_path, lines, says):
    with pytest.raises(dataset.DatasetError, match=says):
        dataset.load(write_csv(tmp_path / "fer2013.csv", lines))


NOISE = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train/contempt/Training_1.png", png(NOISE), r"class folder must be one of.*'contempt'"),
        ("train/happy/Training_1.jpg", png(NOISE)[:900], r"Training_1.jpg: cannot be decoded"),
        ("train/happy/Training_1.jpg", b"", r"Training_1.jpg: cannot be decoded"),
        ("train/happy/Training_1.png", png(NOISE[:40]), r"must be 48 x 48 pixels, received 48 x"),
        ("train/happy/notes.txt", b"hello", r"notes.txt: must be a .jpg or .png image"),
        ("test/happy/im1.png", png(NOISE), r"must start with PublicTest_ or PrivateTest_"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_broken_tree_is_refused_with_its_path_and_what_to_do(tmp_path, form, name, content, says):
    files = {**tree(DATA), name: content}
    path = (
        write_tree(tmp_path / "folder", files)
        if form == "folder"
        else write_zip(tmp_path / "fer2013.zip", files)
    )
    with pytest.raises(dataset.DatasetError, match=says):
        dataset.load(path)


def test_a_truncated_jpeg_is_named(tmp_path):
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(NOISE).save(buffer, "jpeg", quality=95)
    files = {**tree(DATA), "train/sad/Training_cut.jpg": buffer.getvalue()[:-700]}
    with pytest.raises(dataset.DatasetError, match=r"train/sad/Training_cut.jpg: cannot be decod"):
        dataset.load(write_tree(tmp_path / "folder", files))


def test_a_damaged_zip_member_is_named(tmp_path):
    path = forms(tmp_path)["zip"]
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT") + 100
    content[at : at + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(dataset.DatasetError, match=r"train/.*png: cannot be decoded"):
        dataset.load(path)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    path = forms(tmp_path)["csv"]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(dataset.load(path)) == len(DATA)


def test_a_damaged_or_unwritable_cache_costs_time_and_nothing_else(tmp_path, monkeypatch):
    path = forms(tmp_path)["csv"]
    dataset.load(path)
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    assert len(dataset.load(path)) == len(DATA)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "file"))
    assert len(dataset.load(path)) == len(DATA)


def test_a_thinned_set_keeps_every_class(tmp_path):
    few = dataset.thinned(drawn({"Training": 30}), 35)
    assert few.class_counts() == dict.fromkeys(LABELS, 5)


@pytest.mark.parametrize("name", ["missing.csv", "missing"])
def test_missing_data_is_one_clear_error(tmp_path, name):
    with pytest.raises(dataset.DatasetError, match="data must be fer2013.csv, the Kaggle folder"):
        dataset.load(tmp_path / name)


FERPLUS = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def test_votes_by_row_order_and_by_name_give_shares_of_the_seven_classes(tmp_path):
    names = forms(tmp_path)
    public = write_csv(
        tmp_path / "fer2013new.csv",
        [f"Usage,Image name,{FERPLUS}", "Training,fer0000000.png,2,6,0,0,0,0,0,2,0,0"]
        + [f"{split},,0,0,0,0,0,0,0,0,0,10" for split in DATA.splits[1:]],
    )
    loaded = dataset.load(names["csv"], votes=public)
    expected = np.zeros(7)
    expected[LABELS.index("neutral")], expected[LABELS.index("happy")] = 0.25, 0.75
    assert loaded.votes[0] == pytest.approx(expected)
    assert not loaded.votes[1:].any()

    named = write_csv(
        tmp_path / "named.csv",
        [f"usage,image,{FERPLUS}", f"Training,{DATA.names[5]},0,0,0,0,4,0,0,0,0,0"],
    )
    loaded = dataset.load(names["zip"], votes=named)
    where = loaded.names.tolist().index(str(DATA.names[5]))
    assert loaded.votes[where, LABELS.index("angry")] == 1
    assert loaded.votes.sum() == 1


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([f"Usage,Image name,{FERPLUS}", "PrivateTest,,1,0,0,0,0,0,0,0,0,0"], "goes with the wh"),
        (["usage,image,neutral"], "FER\\+ columns missing"),
        ([f"usage,image,{FERPLUS}", "Training,a.png,x,0,0,0,0,0,0,0,0,0"], "row 2: votes must be"),
        ([f"usage,image,{FERPLUS}", "Training,a.png,1,0,0,0,0,0,0,0,0,0"], "names none of the im"),
    ],
)
def test_wrong_votes_are_refused(tmp_path, lines, says):
    form = "csv" if "Image name" in lines[0] else "zip"
    with pytest.raises(dataset.DatasetError, match=says):
        dataset.load(forms(tmp_path)[form], votes=write_csv(tmp_path / "votes.csv", lines))


def test_a_split_that_is_not_there_is_named(tmp_path):
    loaded = dataset.load(forms(tmp_path)["csv"])
    with pytest.raises(dataset.DatasetError, match="split must be one of.*received 'Validation'"):
        loaded.split("Validation")

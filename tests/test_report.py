"""The HTML report of a training run, of drawn images."""

import dataclasses
import json
import re
import sys
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from fer.labels import LABELS
from tests.synthetic import drawn, rows, write_csv

pytestmark = pytest.mark.slow

DATA = drawn({"Training": 4, "PublicTest": 3, "PrivateTest": 2})
EPOCHS = {"frozen": ("0.3101", "0.3202"), "whole": ("0.4303", "0.5404", "0.5105")}
SECTIONS = (
    "Results beside the paper's",
    "Configuration",
    "Data",
    "Training",
    "Confusion matrix",
    "Classification report",
    "Calibration",
    "Hardest mistakes",
    "Systems that the paper compares itself with",
)
VOID = {"meta", "img", "br", "col", "link", "input", "hr"}


class Page(HTMLParser):
    """What a reader finds: headings, tables, pictures, links, text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.tables, self.pictures = [], [], [], []
        self.addresses, self.words, self.ids = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "elements are left open"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[name] for name in ("src", "href", "srcset") if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "img":
            self.pictures.append(attrs)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            assert tag == "td" or attrs.get("scope"), "a heading of a table says what it heads"
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, corner):
        """Returns the rows of the table with a heading, each by its first cell."""
        (table,) = (t for t in self.tables if any(row and row[0] == corner for row in t))
        return {row[0]: row[1:] for row in table}


def main(monkeypatch, module, *arguments):
    from train.command import run

    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    run(module._main)


def make_run(folder):
    """Writes the run folder of an untrained network, as training writes it."""
    import keras

    from fer.nn import fit, leaks
    from fer.nn import model as models
    from train.command import write_json
    from train.recipes import RECIPES

    keras.utils.set_random_seed(0)
    model = models.build(48, init="none", dropout=0.3)
    rng = np.random.default_rng(0)
    for head in models.HEADS:
        kernel, bias = model.get_layer(head).get_weights()
        model.get_layer(head).set_weights([rng.normal(0, 30, kernel.shape), bias])
    folder.mkdir()
    models.save(model, folder / "best.keras")
    history = [
        {"epoch": "0", "stage": stage, "loss": "2.1", "accuracy": "0.25", "val_loss": "2.2",
         "val_accuracy": accuracy, "learning_rate": "0.001", "seconds": "36"}
        for stage, accuracies in EPOCHS.items() for accuracy in accuracies
    ]  # fmt: skip
    for index, row in enumerate(history):
        row["epoch"] = str(index + 1)
    fit._write_history(folder, history)
    recipe = RECIPES["paper"]
    stages = tuple(
        dataclasses.replace(stage, epochs=len(EPOCHS[stage.name])) for stage in recipe.stages
    )
    training = DATA.split("Training")
    write_json(
        folder / "config.json",
        {
            "recipe": {
                "name": "paper",
                **dataclasses.asdict(dataclasses.replace(recipe, tile_size=48, stages=stages)),
            },
            "init": "<start>.keras",
            "seed": 7,
            "git_sha": None,
            "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
            "training_images": len(training),
            "dropped_images": 1978,
            "class_counts": training.class_counts(),
            "validation_images": len(DATA.split("PublicTest")),
            "votes": False,
        },
    )
    write_json(folder / "audit.json", leaks.audit(DATA).to_dict())
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A run folder and its data."""
    base = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE_DIR", str(base / "cache"))
        yield make_run(base / "run"), write_csv(base / "fer2013.csv", rows(DATA))


@pytest.fixture(scope="module")
def shown(environment):
    """The report of a whole run, without FER+ votes."""
    from train import report

    folder, data = environment
    with pytest.MonkeyPatch.context() as patch:
        main(patch, report, folder, "--data", data)
    assert not list(folder.glob(".*")), "temporary files are left"
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_section_is_there_and_can_be_reached(shown):
    assert shown.headings[0] == "Training run run"
    assert [heading for heading in shown.headings if heading in SECTIONS] == list(SECTIONS)
    assert [f"#{name}" for name in shown.ids] == [a for a in shown.addresses if a.startswith("#")]
    assert "The run is finished: 5 epochs" in shown.text


def test_nothing_is_requested(shown):
    assert all(address.startswith(("#", "data:image/")) for address in shown.addresses)
    assert all(picture["alt"] for picture in shown.pictures)


def test_the_accuracy_is_that_of_evaluate(environment, shown, tmp_path, monkeypatch):
    from train import evaluate

    folder, data = environment
    main(monkeypatch, evaluate, "--model", folder / "best.keras", "--data", data,
         "--json", tmp_path / "public.json")  # fmt: skip
    scores = json.loads((tmp_path / "public.json").read_text())
    accuracy = scores["accuracy"]
    assert shown.table("This run")["This run"] == [
        f"{accuracy['value']:.2%} (95% interval {100 * accuracy['low']:.2f} to "
        f"{100 * accuracy['high']:.2f}, n = 21)"
    ]
    report = shown.table("macro avg")
    for label in LABELS:
        own = scores["per_class"][label]
        assert report[label][:3] == [f"{own[key]:.2f}" for key in ("precision", "recall", "f1")]
    confusion = shown.table("true \\ predicted")
    for label, row in zip(LABELS, scores["confusion"], strict=True):
        assert confusion[label] == [f"{count / 3:.0%}{count}" for count in row]
    assert f"{scores['ece']:.4f}" in shown.text


def test_the_papers_numbers_stand_under_the_right_class(shown):
    report = shown.table("macro avg")
    assert report["angry"][4:] == ["0.53", "0.64", "0.58", "0.67", "0.63", "0.65", "491"]
    assert report["neutral"][4:] == ["0.65", "0.69", "0.67", "0.66", "0.74", "0.70", "626"]
    assert report["macro avg"][4:] == ["0.69", "0.68", "0.68", "0.73", "0.71", "0.72", "3589"]
    assert report["accuracy"][4:] == ["", "", "0.70", "", "", "0.72", "3589"]
    for number in ("70.60%", "73.11%", "72.69%", "74.39", "28,709"):
        assert number in shown.text


def test_the_papers_classes_add_up_to_its_test_set():
    from train import paper

    assert sum(paper.SUPPORT.values()) == paper.TEST_IMAGES
    for step in paper.STEPS:
        assert set(step.per_class) == set(paper.SUPPORT) == set(LABELS)
        for mean, column in zip(
            step.macro, zip(*step.per_class.values(), strict=True), strict=True
        ):
            assert mean == pytest.approx(np.mean(column), abs=0.011)


def test_every_epoch_of_both_stages_is_listed(shown):
    tables = [table[1:] for table in shown.tables if table[0][0] == "Epoch"]
    assert [[row[4] for row in table] for table in tables] == [list(v) for v in EPOCHS.values()]
    assert [[row[0] for row in table] for table in tables] == [["1", "2"], ["1", "2", "3"]]
    assert "Every score is of best.keras : epoch 4 of the run, in stage “whole”" in shown.text


def test_the_data_and_the_settings_are_told(shown):
    counts = shown.table("all")
    assert {label: counts[label][1:] for label in LABELS} == {
        label: ["4", "3", "2", "4"] for label in LABELS
    }
    samples = [p["alt"] for p in shown.pictures if p["alt"].endswith(" of 4")]
    assert samples == [f"Face labelled {label}, {n} of 4" for label in LABELS for n in (1, 2, 3, 4)]
    settings = shown.table("Setting")
    assert settings["Start"][0] == "<start>.keras"
    assert settings["Batch size"] == ["32", "32"]
    assert "1,978 left out" in settings["Training images"][0]


def test_mistakes_are_sorted_and_a_run_that_goes_on_says_so(environment, tmp_path, monkeypatch):
    """With FER+ votes, on the other split, in another file."""
    from fer.nn.fit import HISTORY
    from train import report

    folder, data = environment
    going_on = tmp_path / "going-on"
    going_on.mkdir()
    for name in ("best.keras", "config.json"):
        (going_on / name).write_bytes((folder / name).read_bytes())
    lines = (folder / HISTORY).read_text().splitlines(keepends=True)
    (going_on / HISTORY).write_text("".join(lines[:2]))
    votes = tmp_path / "votes.csv"
    columns = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
    names = [f"fer{index:07d}.png" for index in range(len(DATA))]
    votes.write_text(
        f"image,{','.join(columns)}\n" + "".join(f"{name},1,0,0,0,3,0,0\n" for name in names)
    )
    out = tmp_path / "new" / "private.html"
    main(monkeypatch, report, going_on, "--data", data, "--votes", votes,
         "--split", "PrivateTest", "--out", out)  # fmt: skip
    page = Page(out.read_text(encoding="utf-8"))
    assert "The run is not finished: it has 1 of 5 epochs" in page.text
    assert "1 of 2 epochs." in page.text
    assert "Not begun." in page.text
    assert "The paper scores the same images, PrivateTest." in page.text
    mistakes = re.findall(
        r"label (\w+) predicted (\w+) (\d+)% votes angry 75%, neutral 25% fer", page.text
    )
    confusion = np.array([[cell.split("%")[1] for cell in page.table("true \\ predicted")[label]]
                          for label in LABELS], int)  # fmt: skip
    missed = {(true, taken): confusion[i, j] for i, true in enumerate(LABELS)
              for j, taken in enumerate(LABELS) if i != j and confusion[i, j]}  # fmt: skip
    assert Counter(pair[:2] for pair in mistakes) == missed
    confidences = [int(mistake[2]) for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (None, "run must be a folder of"),
        ("config.json", "it has no config.json"),
        ("history.csv", "it has no history.csv"),
        ("best.keras", "it has no best.keras"),
        ("rows", "has no epoch yet"),
        ("recipe", "is not of `python -m train`: no ['recipe'"),
        ("split", "split must be one of ['Training']"),
    ],
)
def test_what_cannot_be_reported_is_one_line_and_exit_2(
    missing, says, environment, tmp_path, monkeypatch, capsys
):
    from train import report

    folder, data = environment
    run = tmp_path / "run"
    if missing:
        run.mkdir()
        for name in ("best.keras", "config.json", "history.csv"):
            if name != missing:
                (run / name).write_bytes((folder / name).read_bytes())
    if missing == "rows":
        (run / "history.csv").write_text("epoch,stage\n")
    if missing == "recipe":
        (run / "config.json").write_text("{}")
    if missing == "split":
        data = write_csv(tmp_path / "training.csv", rows(drawn({"Training": 1})))
    with pytest.raises(SystemExit) as stopped:
        main(monkeypatch, report, run, "--data", data)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (run / "report.html").exists()

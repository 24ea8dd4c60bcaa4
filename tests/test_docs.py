import json
import re
from pathlib import Path

import pytest

from benchmarks import docs
from fer.recognizer import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", docs.DOCUMENTS, ids=lambda path: path.name)
def test_the_figures_are_those_that_were_measured(document):
    text = document.read_text(encoding="utf-8")
    assert "<!-- begin " in text
    assert docs.filled(text) == text, "run python -m benchmarks.docs"


def test_a_figure_that_was_changed_by_hand_is_found():
    value = re.search(r"view `fer2013` \| (\d\d\.\d\d)%", TEXT)[1]
    assert docs.filled(TEXT.replace(value, "99.99")) == TEXT != TEXT.replace(value, "99.99")


def test_every_file_it_names_exists():
    names = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert names
    for name in names:
        assert (ROOT / name).exists(), name


def test_every_make_command_it_names_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"demo", "test", "train", "export"} <= named
    assert named <= targets


def test_the_tables_are_of_one_export_and_of_the_shipped_file():
    parities = {row["variant"]: row.get("parity") for row in read("export.json")}
    measured = read("variants.json")["variants"]
    assert {name: row["bytes"] for name, row in measured.items()} == {
        name: parities[name]["bytes"] for name in measured
    }
    manifest = json.loads((DEFAULT_BUNDLE / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parity"] == parities[manifest["variant"]["name"]]
    assert manifest["parity"]["drop"] <= docs.MOST_DROP


def read(name):
    return json.loads((docs.RESULTS / name).read_text(encoding="utf-8"))

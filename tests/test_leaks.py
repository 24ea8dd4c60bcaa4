import numpy as np
import pytest

from fer.nn import leaks
from fer.nn.dataset import DatasetError, Fer2013
from tests.synthetic import drawn


def planted():
    """Training 0 and 1 are planted in the tests (exact, near); Training 3 repeats Training 2."""
    data = drawn({"Training": 3, "PublicTest": 2, "PrivateTest": 2}, seed=1)
    public = np.flatnonzero(data.splits == "PublicTest")
    private = np.flatnonzero(data.splits == "PrivateTest")
    images = data.images.copy()
    images[public[0]] = images[0]
    images[private[0]] = np.clip(images[1].astype(int) + 3, 0, 255).astype(np.uint8)
    images[3] = images[2]
    images[private[5]] = images[public[6]]
    return Fer2013(images, data.labels, data.splits, data.names, data.votes), public, private


def test_the_audit_finds_what_was_planted_and_nothing_else():
    data, public, private = planted()
    audit = leaks.audit(data)
    found = {pair: [(d.name, d.of, d.exact) for d in ds] for pair, ds in audit.leaks.items()}
    assert found == {
        "Training in PublicTest": [(data.names[0], data.names[public[0]], True)],
        "Training in PrivateTest": [(data.names[1], data.names[private[0]], False)],
        "PublicTest in PrivateTest": [(data.names[public[6]], data.names[private[5]], True)],
    }
    assert [(d.name, d.of) for d in audit.repeats] == [(data.names[3], data.names[2])]
    assert audit.repeats[0].same_label == bool(data.labels[3] == data.labels[2])
    assert audit.training_drops() == {data.names[0], data.names[1], data.names[3]}


def test_training_without_drops_has_no_leak_left():
    data, _, _ = planted()
    clean = leaks.exclude(data, leaks.audit(data).training_drops())
    assert not any(
        found for pair, found in leaks.audit(clean).leaks.items() if pair.startswith("Training")
    )


def test_a_test_image_seen_before_in_training_or_in_choosing_is_marked():
    data, _, private = planted()
    marked = leaks.duplicated(data, "PrivateTest")
    assert np.flatnonzero(marked).tolist() == [0, 5]
    assert len(marked) == len(private)
    assert not leaks.duplicated(data, "Training").any()


def test_flat_images_are_only_duplicates_of_their_exact_copies():
    data = drawn({"Training": 1, "PublicTest": 1})
    images = data.images.copy()
    images[0], images[7] = 10, 200
    flat = Fer2013(images, data.labels, data.splits, data.names, data.votes)
    assert not leaks.audit(flat).training_drops()


def test_a_missing_class_is_named():
    data = drawn({"Training": 1})
    with pytest.raises(DatasetError, match=r"none of \['disgust'\] was found"):
        leaks.require_all_classes(data.take(data.labels != 1))


def test_a_list_of_names_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DatasetError, match="exclude: cannot read"):
        leaks.read_names(tmp_path / "missing.txt")

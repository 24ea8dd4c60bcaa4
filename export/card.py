"""The model card for the Hugging Face Hub, and the sections that every card shares.

Every figure in a card comes from a file that a command of this project measured and wrote: the
manifests, ``scores.json`` and ``benchmark.json``. What was not measured is not in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from fer.labels import LABELS
from fer.spec import TRUTHS, ModelSpec

SCORES_FILE = "scores.json"
"""What ``python -m export.score`` writes into a folder of bundles."""

LIMITS = """## Limits

- An expression is not a felt emotion: the same face can mean many things, and people differ.
- FER2013's labels are noisy (people agree with them on about two images of three), mostly of
  adults, scraped from the web; fairness across groups has not been measured.
- Disgust is rare in the training data, and fear is often taken for sadness or surprise."""

RESPONSIBLE_USE = """\
Do not use it to judge people at work, at school, in hiring, policing or medicine: in the European
Union, inferring emotions at work and in education is prohibited (AI Act, Article 5(1)(f)), and
people exposed to emotion recognition must be told (Article 50(3))."""

LICENCE = """## Licence

Code and weights: Apache-2.0. FER2013's images were collected for research and are not included;
their licence is not ours to give.{votes_licence}"""

VOTES_LICENCE = " FER+ votes: MIT, Microsoft."

_BODY = """# {name}

Recognises the expression of one face: {labels}. EfficientNetB0 trained on FER2013{votes}, exported
to LiteRT (TFLite) in {count}, each with the tiles and answers to check it by.

```python
from fer.recognizer import EmotionRecognizer  # the project's own package, fer-edge

recognizer = EmotionRecognizer.from_hub("{repo}"{revision})
for face in recognizer.recognize("photo.jpg"):
    print(face.label, face.confidence, face.uncertain)
```

```sh
python -m fer --model {uri} photo.jpg
python -m fer --model {uri}/{other} photo.jpg
```

Without that package: crop a square around the face as `{default}/spec.json` says, resize it to
{size} x {size}, and give its RGB values, 0 to 255, to `{default}/model.tflite`. Grey conversion and
normalisation are inside the graph. `{default}/golden/` holds tiles and the answers they must get.

## Measured

Label view `{view}`, without test-time averaging, with the 95% interval of the accuracy. F1 is the
mean over the seven classes; calibration error (ECE) is that of the confidence as the probability of
{truth}.

{table}

{notes}

{plots}
## Intended use

To show a person an estimate of the expression in a photo or a video that they chose to give, with
its uncertainty: demonstrations, research on expression recognition, and applications whose users
know of it, agree to it and bear nothing if it is wrong.

## Out of scope

Not for deciding anything about a person, telling what somebody feels or intends, lie detection,
diagnosis, identification, surveillance or advertising, nor for faces of people who were not asked.

## Training data

FER2013 (Goodfellow et al., 2013): 48 x 48 grey faces from web searches, in the challenge's splits.
Training alone was learned from; PublicTest chose the epoch and fitted the temperature.{votes_data}
FER2013's images were collected for research; none is in this repository, and their licence is not
ours to give.

## Leak audit

FER2013 holds the same image in more than one split. Images of Training that also stand in
PublicTest or PrivateTest, exactly or nearly, and repeats within Training were left out of
training{drops}.
{audit}
## Calibration

Temperature {calibration.temperature:.2f}, fitted on half of {split} and folded into the weights. On
the other half the calibration error against {truth} was {calibration.ece_before:.3f} before and
{calibration.ece_after:.3f} after. Below a confidence of {calibration.uncertain_below:.2f} the top
label was wrong at least as often as right: such a result is called uncertain.

{limits}

## Responsible use and the EU AI Act

{responsible_use}

{licence}

## Citation

```bibtex
@article{{efficientnetb0_fer_2026,
  title   = {{Facial Expression Recognition Using Deep Learning EfficientNetB0}},
  journal = {{Iraqi Journal of Science}},
  year    = {{2026}}
}}
@inproceedings{{goodfellow2013challenges,
  title     = {{Challenges in Representation Learning: A Report on Three Machine Learning
               Contests}},
  author    = {{Goodfellow, Ian J. and Erhan, Dumitru and Carrier, Pierre Luc and others}},
  booktitle = {{International Conference on Neural Information Processing}},
  year      = {{2013}}
}}{votes_citation}
```
"""

_VOTES_CITATION = """
@inproceedings{barsoum2016training,
  title     = {Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
               Distribution},
  author    = {Barsoum, Emad and Zhang, Cha and Canton Ferrer, Cristian and Zhang, Zhengyou},
  booktitle = {ACM International Conference on Multimodal Interaction},
  year      = {2016}
}"""


@dataclass(frozen=True)
class Exported:
    """A bundle as it was read.

    Attributes:
        folder: Where it is.
        spec: Its ``spec.json``.
        manifest: Its ``manifest.json``.
    """

    folder: Path
    spec: ModelSpec
    manifest: dict[str, Any]

    @property
    def variant(self) -> str:
        """Its variant, which is the name of its folder on the Hub."""
        return self.spec.variant


@dataclass(frozen=True)
class Score:
    """What was measured of one variant on one split.

    Attributes:
        split: Split of FER2013.
        accuracy: ``value``, ``low``, ``high`` and ``n``.
        calibration_error: In [0, 1].
        macro_f1: Mean of the classes' F1; None where it was not measured.
        without_duplicates: Accuracy on the images of the split that stand in no split before it.
    """

    split: str
    accuracy: dict[str, float]
    calibration_error: float
    macro_f1: float | None = None
    without_duplicates: dict[str, float] | None = None


@dataclass(frozen=True)
class Measurements:
    """Everything the card reports.

    Attributes:
        scores: By variant, the default variant first.
        audit: Duplicates by pair of splits, see `fer.nn.leaks.Audit.counts`.
        training_drops: How many images the audit takes out of Training.
    """

    scores: dict[str, list[Score]]
    audit: dict[str, dict[str, int]] = field(default_factory=dict)
    training_drops: int | None = None


def read(folder: Path, bundles: Sequence[Exported]) -> Measurements:
    """Reads what was measured of bundles.

    Args:
        folder: May hold `SCORES_FILE`; without it, the gate's own figures in the manifests serve.
        bundles: The bundles.

    Raises:
        ValueError: If the scores are of other files.
    """
    path = folder / SCORES_FILE
    if not path.is_file():
        return Measurements({each.variant: [_of_gate(each.manifest)] for each in bundles})
    report = json.loads(path.read_text(encoding="utf-8"))
    scores = {}
    for each in bundles:
        row = report["variants"].get(each.variant, {})
        if row.get("model_sha256") != each.spec.model_sha256:
            raise ValueError(
                f"{path} is not of these bundles, {each.variant} is another file: run "
                "python -m export.score again, or remove it"
            )
        scores[each.variant] = [
            Score(
                split,
                found["accuracy"],
                found["calibration_error"],
                found["macro_f1"],
                found["accuracy_without_duplicates"],
            )
            for split, found in row["splits"].items()
        ]
    return Measurements(scores, report["audit"], report["training_drops"])


def _of_gate(manifest: dict[str, Any]) -> Score:
    parity = manifest["parity"]
    return Score(
        manifest["split"],
        parity["accuracy"],
        parity["calibration_error"],
        parity.get("macro_f1"),  # not in manifests of before it was measured
    )


def hub_card(
    repo: str,
    revision: str | None,
    bundles: Sequence[Exported],
    measured: Measurements,
    plots: Sequence[str],
) -> str:
    """Writes the card of a repository of bundles.

    Args:
        repo: ``USER/NAME``.
        revision: Branch to name in the examples; None for ``main``.
        bundles: The bundles, the default one first; all of one checkpoint and view.
        measured: What `read` gives.
        plots: Pictures in the repository to show.

    Returns:
        Markdown with the Hub's metadata before it.
    """
    first = bundles[0]
    spec, manifest = first.spec, first.manifest
    votes = "ferplus" in manifest["accuracy"]
    uri = f"hf://{repo}" + (f"@{revision}" if revision else "")
    body = _BODY.format(
        name=repo.split("/")[1],
        repo=repo,
        revision=f', revision="{revision}"' if revision else "",
        uri=uri,
        other=bundles[-1].variant,
        default=first.variant,
        count="one variant" if len(bundles) == 1 else f"{len(bundles)} variants",
        labels=", ".join(LABELS),
        votes=" with FER+ votes as a second head" * votes,
        votes_data=" FER+ (Barsoum et al., 2016): ten votes for each of the same images." * votes,
        votes_citation=_VOTES_CITATION * votes,
        size=spec.tile_size,
        view=spec.view,
        split=manifest["split"],
        truth=TRUTHS[spec.calibration.truth],
        table=_table(bundles, measured),
        notes=_notes(first, measured),
        plots="".join(f"![{Path(plot).stem}]({plot})\n\n" for plot in plots),
        drops="" if measured.training_drops is None else f" ({measured.training_drops} images)",
        audit=_audit(measured),
        calibration=spec.calibration,
        limits=LIMITS,
        responsible_use=RESPONSIBLE_USE,
        licence=LICENCE.format(votes_licence=VOTES_LICENCE * votes),
    )
    return f"---\n{_metadata(repo, bundles, measured, votes=votes).to_yaml()}\n---\n\n{body}"


def _metadata(
    repo: str, bundles: Sequence[Exported], measured: Measurements, *, votes: bool
) -> ModelCardData:
    view = bundles[0].spec.view
    return ModelCardData(
        license="apache-2.0",
        # Not keras: the Hub would tell people to load the repository with keras.saving, whose
        # layout this is not. The .keras file is there to retrain from.
        library_name="litert",
        pipeline_tag="image-classification",
        tags=[
            "facial-expression-recognition",
            "emotion-recognition",
            "efficientnet",
            "litert",
            "tflite",
            "keras",
        ],
        datasets=["fer2013", *["ferplus"] * votes],
        metrics=["accuracy", "f1", "expected_calibration_error"],
        model_name=repo.split("/")[1],
        eval_results=[
            EvalResult(
                task_type="image-classification",
                task_name="Facial expression recognition",
                dataset_type="fer2013",
                dataset_name=f"FER2013 {score.split}",
                dataset_config=view,
                dataset_split=score.split,
                metric_type=kind,
                metric_name=f"{name}, {variant}",
                metric_value=round(value, 4),
                metric_args={"variant": variant, "view": view},
            )
            for variant, scores in measured.scores.items()
            for score in scores
            for kind, name, value in (
                ("accuracy", "Accuracy", score.accuracy["value"]),
                ("f1", "Macro F1", score.macro_f1),
                ("expected_calibration_error", "ECE", score.calibration_error),
            )
            if value is not None
        ],
    )


def _table(bundles: Sequence[Exported], measured: Measurements) -> str:
    lines = [
        "| variant | split | accuracy | 95% interval | macro F1 | ECE | MB | ms, 1 thread |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in bundles:
        speed = each.manifest.get("benchmark")
        time = f"{speed['latency_ms']['1']['p50']:.2f}" if speed else "-"
        for score in measured.scores[each.variant]:
            found = score.accuracy
            f1 = "-" if score.macro_f1 is None else f"{score.macro_f1:.3f}"
            lines.append(
                f"| `{each.variant}` | {score.split} | {found['value']:.2%} "
                f"| {100 * found['low']:.2f} to {100 * found['high']:.2f} | {f1} "
                f"| {score.calibration_error:.3f} "
                f"| {each.manifest['parity']['bytes'] / 1e6:.2f} | {time} |"
            )
    return "\n".join(lines)


def _notes(first: Exported, measured: Measurements) -> str:
    lines = [f"`{first.variant}` is what an address without a variant gives."]
    if speed := first.manifest.get("benchmark"):
        lines.append(f"Times are medians on {speed['machine']['cpu']}.")
    views = ", ".join(
        f"`{view}` {value['value']:.2%}" for view, value in first.manifest["accuracy"].items()
    )
    lines.append(
        f"Accuracy of the Keras model on {first.manifest['split']} by label view: {views}."
    )
    return "\n".join(lines)


def _audit(measured: Measurements) -> str:
    if not measured.audit:
        return ""
    lines = [
        "",
        "| the same image in | exactly | nearly | with another label |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {pair} | {n['exact']} | {n['near']} | {n['other_label']} |"
        for pair, n in measured.audit.items()
    ]
    first = next(iter(measured.scores))
    kept = [
        f"{score.split} {score.without_duplicates['value']:.2%} on "
        f"{score.without_duplicates['n']} images"
        for score in measured.scores[first]
        if score.without_duplicates
    ]
    if kept:
        lines += ["", f"Accuracy of `{first}` without the duplicates: {', '.join(kept)}."]
    return "\n".join([*lines, ""])

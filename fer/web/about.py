"""The tab "About": what this is, how good it is, its limits, privacy and licence."""

import json
import re
from html import escape
from pathlib import Path

import gradio as gr

from fer.labels import LABELS
from fer.spec import TRUTHS, Calibration, ModelSpec

ABOUT = f"""\
A small network (EfficientNetB0, trained on FER2013 with FER+ votes) on LiteRT looks at every face
that a face detector finds, and gives a probability to each of {", ".join(LABELS[:-1])} and
{LABELS[-1]}.

**Limits.** An expression is not a felt emotion: people smile when they are sad, and the same face
means different things in different places and to different people. The labels the network learnt
from are guesses by strangers who often disagreed. How well it works for different groups of
people has not been measured. Small, turned, covered or dark faces are often missed or misread.

**Use it responsibly.** Nothing should be decided about anybody because of this page. In the
European Union, inferring emotions of people at work or in education is prohibited (AI Act,
Article 5(1)(f)), and where emotion recognition is allowed, people must be told that it looks at
them (Article 50(3)). Only use photos of people who agree.

**Your privacy.** Photos, videos and camera frames go to the computer that runs this page and
nowhere else. Camera frames are read in memory and forgotten. The temporary file of a photo is
deleted within two minutes, those of a video and of its marked copy half an hour after they came. No
picture, face or result is kept, logged or used for training.
"""

LICENCE = """\
**Licence.** Code and weights: Apache-2.0. The face detector is MediaPipe's BlazeFace (Apache-2.0,
Google). FER2013's images were collected for research and are not included.
"""


def tab(spec: ModelSpec, bundle: Path) -> None:
    """Adds the tab's content.

    Args:
        spec: The model's.
        bundle: Its bundle, whose manifest holds what was measured and whose card is shown.
    """
    gr.Markdown(about(spec.calibration), elem_id="about")
    measured = measured_html(spec, bundle)
    if measured:
        gr.HTML(measured, js_on_load=None, apply_default_css=False, elem_id="measured")
    gr.Markdown(LICENCE)
    card = bundle / "MODEL_CARD.md"
    if card.is_file():
        with gr.Accordion("Model card", open=False):
            gr.Markdown(_without_front_matter(card.read_text(encoding="utf-8")), elem_id="card")


def about(calibration: Calibration) -> str:
    """Returns the text, with how far the probabilities were off, as Markdown."""
    return (
        f"{ABOUT}\n**Measured.** A confidence is the probability of "
        f"{TRUTHS[calibration.truth]}. On test faces it was off by "
        f"{100 * calibration.ece_after:.0f} percentage points on average. Below "
        f"{calibration.uncertain_below:.0%} the label was wrong at least as often as right: such "
        "an answer is called uncertain.\n"
    )


def measured_html(spec: ModelSpec, bundle: Path) -> str:
    """Draws the accuracy of a bundle's file with its interval, and its confusion matrix.

    Args:
        spec: The bundle's spec.
        bundle: The bundle.

    Returns:
        HTML; empty where the bundle has no manifest with these figures.
    """
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        accuracy, confusion = (manifest["parity"][key] for key in ("accuracy", "confusion"))
        split = manifest["split"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return (
        f'<div class="fer-measured"><p>On the {accuracy["n"]} images of {escape(split)}, this file '
        f"gave the label that FER2013 gives to <strong>{accuracy['value']:.1%}</strong> (95% "
        f"interval {100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}), with the label "
        f"view <code>{escape(spec.view)}</code>.</p>"
        '<div class="fer-wide" tabindex="0" role="region" aria-label="Confusion matrix">'
        f"{_confusion_html(confusion)}</div></div>"
    )


def _confusion_html(confusion: list[list[int]]) -> str:
    head = "".join(f'<th scope="col">{label}</th>' for label in LABELS)
    rows = []
    for label, counts in zip(LABELS, confusion, strict=True):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td style="--share:{count / total:.3f}">{count / total:.0%}</td>' for count in counts
        )
        rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    return (
        '<table class="fer-confusion"><caption>Of the faces that FER2013 calls what the row says, '
        "how many were called what the column says</caption>"
        f'<thead><tr><th scope="col">label</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _without_front_matter(card: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)

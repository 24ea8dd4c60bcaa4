"""Publishes bundles on the Hugging Face Hub: ``python -m export.push DIR --repo USER/NAME``."""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export import card
from export.bundle import CHECKPOINT_FILE, MANIFEST_FILE
from export.publish import CARD_FILE, KEPT, Files, Target, publish, quiet, report, show
from export.recipes import VARIANTS
from export.verify import verify
from fer._stderr import silent_stderr
from fer.recognizer import DEFAULT_BUNDLE
from fer.spec import ModelSpec
from train.program import new_parser, run

EPILOG = """examples:
  python -m export.push exported --repo USER/NAME --checkpoint runs/cpu/best.keras --dry-run
  python -m export.push exported --repo USER/NAME --checkpoint runs/cpu/best.keras --private
  python -m export.push fer/assets/model --repo USER/NAME

The token is the one of `hf auth login`, or HF_TOKEN. What has not changed is not sent again. Exit
status: 0 published, 2 it could not be, with the reason.
"""

_ROOT = Path(__file__).parents[1]
_REPORTS = ("export.json", "benchmark.json", card.SCORES_FILE)


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "export.push",
        "Publish every bundle of a folder on the Hugging Face Hub, with the network to retrain, "
        "plots and a model card, in one commit. Each bundle is verified first.",
        EPILOG,
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="what python -m export wrote, or one bundle"
    )
    parser.add_argument("--repo", required=True, metavar="USER/NAME")
    parser.add_argument("--private", action="store_true", help="only you may see the repository")
    parser.add_argument(
        "--revision", default="main", metavar="BRANCH", help="branch (default: main)"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE.keras",
        help="network the bundles were made from (default: the one in a bundle)",
    )
    parser.add_argument(
        "--default",
        metavar="VARIANT",
        help="what an address without a variant gives (default: the app's)",
    )
    parser.add_argument(
        "--overwrite-card",
        action="store_true",
        help="replace the card on the Hub even if a person edited it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the files and the card; ask the Hub nothing"
    )
    return parser.parse_args()


def _main() -> None:
    options = _parse()
    quiet()
    target = Target(
        options.repo, "model", options.private, options.revision, options.overwrite_card
    )
    bundles = read_bundles(options.folder, options.default)
    files = collect(options.folder, bundles, options.checkpoint, target)
    if options.dry_run:
        show(files)
        print(f"\n{CARD_FILE}:\n\n{bytes(files[CARD_FILE]).decode()}")
        return
    first = bundles[0]
    published = publish(
        target,
        files,
        f"Publish {', '.join(each.variant for each in bundles)}",
        default=first.variant,
        variants=[each.variant for each in bundles],
        view=first.spec.view,
        checkpoint_sha256=first.manifest["checkpoint_sha256"],
    )
    report(published, target)


def read_bundles(folder: Path, default: str | None = None) -> list[card.Exported]:
    """Reads the bundles of a folder and checks each as `export.verify` does.

    Args:
        folder: What ``python -m export`` wrote, or one bundle.
        default: Variant to put first; None for the one the app ships, where that is there.

    Raises:
        ValueError: If there is none, one is not whole, or they are not of one model.
    """
    if (folder / MANIFEST_FILE).is_file():
        paths = [folder]
    else:
        paths = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
    if not paths:
        raise ValueError(f"DIR must hold bundles of python -m export, received {folder}")
    bundles = []
    for path in paths:
        with silent_stderr():  # LiteRT greets
            faults = verify(path).faults
        if faults:
            raise ValueError(f"{path} cannot be published: {faults[0]}; export it again")
        manifest = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))
        bundles.append(card.Exported(path, ModelSpec.load(path), manifest))
    if len({(each.manifest["checkpoint_sha256"], each.spec.view) for each in bundles}) > 1:
        raise ValueError(f"DIR must hold bundles of one checkpoint and view, {folder} has others")
    names = [each.variant for each in bundles]
    if len(set(names)) < len(names):
        raise ValueError(f"DIR must hold each variant once, received {sorted(names)}")
    if default is not None and default not in names:
        raise ValueError(f"default must be one of {sorted(names)}, received {default!r}")
    shipped = default or ModelSpec.load(DEFAULT_BUNDLE).variant
    order = list(VARIANTS)
    return sorted(bundles, key=lambda each: (each.variant != shipped, order.index(each.variant)))


def collect(
    folder: Path, bundles: Sequence[card.Exported], checkpoint: Path | None, target: Target
) -> Files:
    """Returns everything to publish.

    Args:
        folder: May hold reports and plots beside the bundles.
        bundles: The bundles, the default one first.
        checkpoint: The network they were made from; None to take it from a bundle.
        target: Where it will be.

    Raises:
        ValueError: If there is no checkpoint, or it is another one.
    """
    files: dict[str, Path | bytes] = {name: _ROOT / name for name in ("LICENSE", "NOTICE")}
    files[CHECKPOINT_FILE] = _checkpoint(bundles, checkpoint)
    for each in bundles:
        # Once for all variants, not in each.
        listed = {name: row for name, row in each.manifest["files"].items()
                  if name != CHECKPOINT_FILE}  # fmt: skip
        files |= {f"{each.variant}/{name}": each.folder / name for name in listed}
        files[f"{each.variant}/{MANIFEST_FILE}"] = _json({**each.manifest, "files": listed})
    files |= {name: folder / name for name in _REPORTS if (folder / name).is_file()}
    plots = {f"plots/{path.name}": path for path in sorted(folder.glob("*.png"))}
    text = card.hub_card(
        target.repo,
        None if target.revision == "main" else target.revision,
        bundles,
        card.read(folder, bundles),
        list(plots),
    )
    return {**files, **plots, CARD_FILE: text.encode()}


def _checkpoint(bundles: Sequence[card.Exported], given: Path | None) -> Path:
    found = [each.folder / CHECKPOINT_FILE for each in bundles]
    path = given or next((path for path in found if path.is_file()), None)
    if path is None:
        raise ValueError("checkpoint must be given, as no bundle holds one: --checkpoint FILE")
    if not path.is_file():
        raise ValueError(f"checkpoint must be an existing file, received {path}")
    expected = bundles[0].manifest["checkpoint_sha256"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise ValueError(
            f"checkpoint must be what the bundles were made from, SHA-256 {expected[:12]}..., "
            f"received {path}"
        )
    return path


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


if __name__ == "__main__":
    run(_main, KEPT, leave=os._exit)  # a transfer that hangs holds nobody back

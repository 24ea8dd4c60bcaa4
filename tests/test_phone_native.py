"""The Android project and the Swift package, as far as a computer without their tools can tell."""

import json
import os
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from subprocess import PIPE

import cv2
import numpy as np
import phone_cases
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.card import RESPONSIBLE_USE
from export.flatbuffer import LABELS_FILE
from export.golden import GOLDEN_FILE, golden_tiles
from fer.faces import (
    BLAZEFACE_FILE,
    BlazeFaceDetector,
    FaceBox,
    _BlazeFace,
    _merge,
    crop_square,
    square_crop,
)
from fer.image import load_image
from fer.runtime import MODEL_FILE
from fer.spec import FER2013_CROP, SPEC_VERSION
from fer.tile import make_tile
from tests import npm
from tests.phone_guide import code

HERE = Path(__file__).parent
ROOT = HERE.parent
IOS = ROOT / "export" / "phone" / "ios"
ANDROID = ROOT / "export" / "phone" / "android"
MAIN = ANDROID / "app" / "src" / "main"
KOTLIN = MAIN / "kotlin" / "fer" / "edge"
RESOURCES = sorted((MAIN / "res").rglob("*.xml"))
XML = "{http://schemas.android.com/apk/res/android}"

BUILT_IN_KOTLIN = "2.2"  # what the pinned Android plugin compiles with

GUIDES = """\
import android.content.Context
import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import fer.edge.Picture
import fer.edge.Recognizer

fun guide(assets: AssetManager, tile: FloatArray): List<Float> {
%s
return probabilities
}

fun readme(context: Context, width: Int, height: Int, argb: IntArray) {
%s
}
"""


def text(path):
    return path.read_text(encoding="utf-8")


def properties(project):
    lines = text(project / "gradle.properties").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def defined_resources():
    """Type and name of everything that the app's XML defines, such as ("string", "app_name")."""
    found = {("layout", file.stem) for file in RESOURCES if "layout" in file.parent.name}
    for file in RESOURCES:
        for element in ET.parse(file).iter():
            if file.parent.name == "values" and "name" in element.attrib and element.tag != "item":
                found.add((element.tag, element.attrib["name"]))
            if identity := element.get(f"{XML}id"):
                found.add(("id", identity.removeprefix("@+id/")))
    return found


class TestAndroidProject:
    def test_every_resource_that_is_used_is_defined(self):
        used = set()
        for file in [MAIN / "AndroidManifest.xml", *RESOURCES]:
            for element in ET.parse(file).iter():
                for value in [*element.attrib.values(), (element.text or "").strip()]:
                    used |= set(re.findall(r"^@(\w+)/(\w+)$", value))
        for file in KOTLIN.glob("*.kt"):
            used |= set(re.findall(r"\bR\.(\w+)\.(\w+)", text(file)))
        assert ("id", "bars") in used
        assert used <= defined_resources()

    def test_both_ways_to_hold_the_phone_show_the_same_things(self):
        def shown(folder):
            tree = ET.parse(MAIN / "res" / folder / "main.xml")
            return [(view.tag, view.get(f"{XML}id")) for view in tree.iter()]

        assert shown("layout") == shown("layout-land")

    def test_every_view_of_a_layout_is_a_class_of_the_app_or_of_android(self):
        views = {view.tag for view in ET.parse(MAIN / "res" / "layout" / "main.xml").iter()}
        own = {view for view in views if "." in view}
        assert own
        for view in own:
            package, name = view.rsplit(".", 1)
            source = text(KOTLIN / f"{name}.kt")
            assert f"package {package}\n" in source
            assert f"class {name}(" in source

    def test_the_manifest_starts_the_activity_and_gives_no_way_out(self):
        manifest = ET.parse(MAIN / "AndroidManifest.xml")
        name = manifest.find("application/activity").get(f"{XML}name")
        assert f"class {name.removeprefix('.')} :" in text(KOTLIN / f"{name.removeprefix('.')}.kt")
        permissions = {
            permission.get(f"{XML}name"): permission.attrib
            for permission in manifest.findall("uses-permission")
        }
        removed = permissions.pop("android.permission.INTERNET")
        assert removed["{http://schemas.android.com/tools}node"] == "remove"
        assert set(permissions) == {"android.permission.CAMERA"}

    def test_the_screen_says_what_the_model_card_says(self):
        strings = ET.parse(MAIN / "res" / "values" / "strings.xml")
        shown = " ".join(strings.find("string[@name='responsible_use']").text.split())
        assert " ".join(RESPONSIBLE_USE.split()) in shown

    def test_versions_are_named_once(self):
        tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
        catalogue = tomllib.loads(text(ANDROID / "gradle" / "libs.versions.toml"))
        entries = [*catalogue["libraries"].values(), *catalogue["plugins"].values()]
        assert {entry["version"]["ref"] for entry in entries} == set(catalogue["versions"])

        scripts = "".join(text(file) for file in ANDROID.rglob("*.gradle.kts"))
        aliases = {name.replace("-", ".") for name in catalogue["libraries"]}
        aliases |= {f"plugins.{name.replace('-', '.')}" for name in catalogue["plugins"]}
        assert set(re.findall(r"\blibs\.([\w.]+)\)", scripts)) == aliases
        assert not re.search(r"\d+\.\d+\.\d+", scripts)

    @pytest.mark.parametrize("place", ["repository", "handover"])
    def test_the_build_finds_a_bundle_that_the_app_can_read(self, place, unpacked):
        project = ANDROID if place == "repository" else unpacked / "android"
        named = properties(project)
        bundle = project / named["fer.bundle"]
        ends = json.loads(text(bundle / "manifest.json"))["tensors"]
        assert {tensor["dtype"] for end in ends.values() for tensor in end.values()} == {"float32"}
        assert (project / named["fer.detector"]).read_bytes() == BLAZEFACE_FILE.read_bytes()
        assert (bundle / "golden" / GOLDEN_FILE).is_file()

        copied = re.search(r"include\((.*)\)", text(ANDROID / "app" / "build.gradle.kts"))[1]
        names = set(re.findall(r'"([\w.]+)"', copied))
        assert names == {MODEL_FILE, LABELS_FILE, "spec.json"}
        assert all((bundle / name).is_file() for name in names)

    def test_the_app_opens_the_files_that_the_build_copies(self):
        opened = text(KOTLIN / "Classifier.kt") + text(KOTLIN / "Recognizer.kt")
        for name in (MODEL_FILE, LABELS_FILE, "spec.json", BLAZEFACE_FILE.name):
            assert f'"{name}"' in opened
        test = text(ANDROID / "app/src/androidTest/kotlin/fer/edge/GoldenTest.kt")
        assert f'"{GOLDEN_FILE}"' in test

    def test_the_app_reads_this_version_of_the_spec(self):
        assert f"const val VERSION = {SPEC_VERSION}\n" in text(KOTLIN / "Spec.kt")


class Replay:
    """The app's Kotlin on a JVM: questions as tests/phone_replay.kt reads them."""

    def __init__(self, classes, library):
        self._command = ["java", "-cp", f"{classes}:{library}", "Phone_replayKt"]

    def ask(self, *questions):
        """Returns the answer to each question, with Python as the network where one is needed."""
        with subprocess.Popen(self._command, stdin=PIPE, stdout=PIPE) as asked:
            answers = []
            for question in questions:
                asked.stdin.write(question)
                asked.stdin.flush()
                while (count := struct.unpack(">i", asked.stdout.read(4))[0]) == -1:
                    pixels = np.frombuffer(asked.stdout.read(4 * 128 * 128 * 3), ">f4")
                    asked.stdin.write(b"".join(floats(values) for values in network(pixels)))
                    asked.stdin.flush()
                answers.append(np.frombuffer(asked.stdout.read(4 * count), ">f4"))
            asked.stdin.close()
        assert asked.returncode == 0
        return answers


def question(letter):
    return struct.pack(">i", ord(letter))


def picture(image):
    rgb = image.astype(">i4")
    pixels = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).astype(">i4")
    return struct.pack(">2i", image.shape[1], image.shape[0]) + pixels.tobytes()


def square(box, crop):
    return struct.pack(">6d", box.x, box.y, box.width, box.height, crop.scale, crop.offset_y)


def floats(values):
    return struct.pack(">i", values.size) + values.astype(">f4").tobytes()


@pytest.fixture(scope="module")
def kotlinc():
    """The compiler, from npm where KOTLINC does not name one."""
    if not shutil.which("java") and "CI" not in os.environ:
        pytest.skip("needs Java: apt-get install default-jre-headless")
    if named := os.environ.get("KOTLINC"):
        return Path(named).resolve()
    return npm.installed(HERE / "kotlin") / "kotlin-compiler" / "bin" / "kotlinc"


@pytest.fixture(scope="module")
def compiled(kotlinc, unpacked, tmp_path_factory):
    """The whole app, compiled against declarations of what it calls; and what was said of it."""
    folder = tmp_path_factory.mktemp("kotlin")
    stubs = text(HERE / "phone_stubs.txt").split("\npackage ")[1:]
    ids = "".join(
        f"object {kind} {{ "
        + "; ".join(f"const val {name} = 0" for other, name in names if other == kind)
        + " }\n"
        for names in [sorted(defined_resources())]
        for kind in sorted({kind for kind, _ in names} - {"style"})
    )
    for number, stub in enumerate([*stubs, f"fer.edge\nobject R {{\n{ids}}}"]):
        (folder / f"Stub{number}.kt").write_text(f"package {stub}")
    guides = [unpacked / name for name in ("README.md", "android/README.md")]
    lines = tuple(code(guide, "kotlin") for guide in guides)
    (folder / "Guides.kt").write_text(GUIDES % lines)
    sources = [*(ANDROID / "app").rglob("*.kt"), HERE / "phone_replay.kt"]
    done = subprocess.run(
        ["bash", kotlinc, "-language-version", BUILT_IN_KOTLIN, "-api-version", BUILT_IN_KOTLIN,
         *sources, *folder.glob("*.kt"), "-d", folder / "classes"],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "JAVA_OPTS": "-Xmx1g -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "classes", done.stderr


@pytest.fixture(scope="module")
def kotlin(compiled, kotlinc):
    return Replay(compiled[0], kotlinc.parents[1] / "lib" / "kotlin-stdlib.jar")


@pytest.fixture(scope="module")
def photo():
    return load_image(ROOT / "examples" / "astronaut.png")


def network(pixels):
    """BlazeFace's two outputs: boxes and logits."""
    interpreter = Interpreter(model_path=str(BLAZEFACE_FILE))
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"],
        pixels.reshape(1, 128, 128, 3).astype(np.float32),
    )
    interpreter.invoke()
    return [interpreter.get_tensor(end["index"])[0] for end in interpreter.get_output_details()]


@pytest.mark.slow
class TestKotlin:
    def test_the_app_compiles_without_a_warning(self, compiled):
        files = (str(ANDROID), "Guides.kt")
        said = compiled[1].splitlines()
        assert not [line for line in said if any(file in line for file in files)]

    def test_the_guides_lines_give_the_networks_probabilities(self, kotlin):
        tile = np.array([1, 1, 0, 4, 1, 0, 1, 9])  # of which the stand-in for LiteRT returns seven
        (found,) = kotlin.ask(question("g") + floats(tile))
        assert found == pytest.approx(tile[:7] / 8)

    def test_tiles_are_those_of_python_within_one_grey_level(self, kotlin, photo):
        crops = [
            (photo, FaceBox(177, 72, side, side, 1.0), size)
            for side in (13.0, 60.5, 94.0, 104.7, 105.2, 333.3, 900.0)
            for size in (48, 112)
        ]
        crops += [
            (tile, FaceBox(0, 0, 112, 112, 1.0), size)
            for tile in golden_tiles(112).values()
            for size in (64, 112, 150)
        ]
        answers = kotlin.ask(
            *(
                question("t") + picture(image) + square(box, FER2013_CROP) + struct.pack(">i", size)
                for image, box, size in crops
            )
        )
        for (image, box, size), answer in zip(crops, answers, strict=True):
            expected = make_tile(square_crop(image, box, FER2013_CROP), size)
            assert np.abs(answer - expected.ravel()).max() <= 1

    def test_squares_are_where_python_puts_them(self, kotlin):
        rng = np.random.default_rng(0)
        boxes = [*phone_cases.BOXES]
        boxes += [
            (FaceBox(*rng.uniform(-50, 500, 2), *rng.uniform(1, 300, 2), 1.0), FER2013_CROP)
            for _ in range(200)
        ]
        answers = kotlin.ask(*(question("c") + square(*box) for box in boxes))
        for box, answer in zip(boxes, answers, strict=True):
            assert tuple(answer) == crop_square(*box)

    def test_the_detector_sees_the_whole_picture_at_the_top_left(self, kotlin, photo):
        wide = photo[100:340]
        (pixels,) = kotlin.ask(question("i") + picture(wide))
        pixels = pixels.reshape(128, 128, 3)
        seen = cv2.resize(wide.astype(np.float32), (128, 60), interpolation=cv2.INTER_AREA)
        assert np.abs(pixels[:60] - (seen / 127.5 - 1)).max() <= 1 / 127.5
        assert (pixels[60:] == -1).all()

    def test_boxes_are_decoded_and_merged_as_python_does(self, kotlin, photo):
        rng = np.random.default_rng(0)
        boxes = rng.uniform(-8, 8, (896, 16))
        boxes[:, 2:4] = rng.uniform(10, 60, (896, 2))
        logits = rng.normal(-1.5, 1.5, (896, 1))
        image = photo[:256]  # seen at a quarter: 128 x 64
        (found,) = kotlin.ask(question("f") + picture(image) + floats(boxes) + floats(logits))

        likely = logits[:, 0] > 0
        centre = boxes[:, :2] + _BlazeFace(BLAZEFACE_FILE, 1)._anchors
        edges = np.concatenate([centre - boxes[:, 2:4] / 2, centre + boxes[:, 2:4] / 2], axis=1)
        rows = np.concatenate([4 * edges, 1 / (1 + np.exp(-logits))], axis=1)[likely]
        expected = [[box.x, box.y, box.width, box.height, box.score] for box in _merge(rows)]
        assert len(rows) > 2 * len(expected) > 20
        assert found.reshape(-1, 5) == pytest.approx(np.array(expected), abs=1e-2)

    @pytest.mark.parametrize(
        ("place", "close"),
        [
            (np.s_[:, :], 0.03),
            (np.s_[:, 60:444], 0.03),
            (np.s_[:330], 0.03),
            (np.s_[20:240, 120:330], 0.06),  # too large for a closer look
        ],
    )
    def test_a_face_is_where_python_finds_it(self, kotlin, photo, place, close):
        (wanted,) = BlazeFaceDetector().detect(photo[place])
        (found,) = kotlin.ask(question("d") + picture(photo[place]))
        assert len(found) == 5
        expected = [wanted.x, wanted.y, wanted.width, wanted.height]
        assert found[:4] == pytest.approx(expected, abs=close * wanted.width)

    def test_faces_side_by_side_are_found_and_what_is_none_is_not(self, kotlin, photo):
        pair = np.concatenate([photo[:330, 100:370], photo[:330, 370:100:-1]], axis=1)
        nothing = photo[330:]
        found, none = kotlin.ask(*(question("d") + picture(image) for image in (pair, nothing)))
        assert len(found) == 2 * 5
        assert len(none) == 0


needs_swift = pytest.mark.skipif(not shutil.which("swift"), reason="needs swift: swift.org/install")

SWIFT_GUIDES = """\
import Foundation

let specJSON = URL(fileURLWithPath: "%s")
let (width, height) = (512, 384)
let rgb = (0..<width * height).flatMap { _ in [UInt8]([1, 2, 0]) }
let path = "model.tflite"
%s
%s
print(probabilities)
"""


class TestSwiftPackage:
    def test_its_cases_are_what_python_answers_now(self):
        assert text(phone_cases.SWIFT_CASES) == phone_cases.to_json(), (
            "python -m tests.phone_cases writes them again"
        )

    @pytest.mark.slow
    @needs_swift
    def test_it_repeats_them(self, tmp_path):
        package = shutil.copytree(IOS, tmp_path / "ios")
        subprocess.run(["swift", "test"], cwd=package, check=True, timeout=600)

    @pytest.mark.slow
    @needs_swift
    def test_the_guides_lines_give_the_networks_probabilities(self, unpacked, tmp_path):
        package = shutil.copytree(unpacked / "ios", tmp_path / "ios")
        with (package / "Package.swift").open("a") as file:
            target = '.executableTarget(name: "Guide", dependencies: ["FerEdge"])'
            file.write(f"package.targets.append({target})\n")
        lines = SWIFT_GUIDES % (
            unpacked / "models" / "float16" / "spec.json",
            code(unpacked / "ios" / "README.md", "swift"),
            code(unpacked / "README.md", "swift"),
        )
        (package / "Sources" / "Guide").mkdir()
        (package / "Sources" / "Guide" / "main.swift").write_text(lines)
        shutil.copy(HERE / "phone_stub.swift", package / "Sources" / "Guide")
        done = subprocess.run(
            ["swift", "run", "Guide"], cwd=package, check=True, timeout=600, stdout=PIPE
        )
        assert json.loads(done.stdout) == pytest.approx([1 / 7, 2 / 7, 0, 1 / 7, 2 / 7, 0, 1 / 7])

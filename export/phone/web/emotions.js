// Loads the two networks, and reads the faces of a picture: fer/recognizer.py in the browser.
import { loadAndCompile, loadLiteRt, supportsFeature } from "./litert/index.js";
import { faceDetector, infer } from "./faces.js";
import { cropSquare, resample } from "./tile.js";

/** Loads everything that reading needs; returns {settings, read, predict, importance}. */
export async function loadRecognizer() {
  const wasm = `litert/litert_wasm_${(await supportsFeature("relaxedSimd")) ? "" : "compat_"}internal`;
  const packed = [`${wasm}.wasm`, "face_detector.tflite", "model.tflite", "settings.json"];
  const [wasmBinary, blazeFace, model, text] = await Promise.all(packed.map(unpacked));
  self.Module = { wasmBinary }; // LiteRT.js would look for it unpacked
  await loadLiteRt(`${wasm}.js`);
  const settings = JSON.parse(new TextDecoder().decode(text));
  const detect = faceDetector(blazeFace, settings.detector);
  return recognizer(settings, detect, await loadAndCompile(model, { accelerator: "wasm" })); // a GPU would gain nothing
}

// Compressed by the exporter, under a name that no host unpacks.
async function unpacked(name) {
  const response = await fetch(`${name}.packed`);
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return new Uint8Array(await new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

function recognizer(settings, detect, classifier) {
  const { crop, tile_size: size, labels, colours, uncertain_below: least, patch_side: side, patches } = settings;
  const [{ dtype, shape }] = classifier.getInputDetails();
  const output = classifier.getOutputDetails().findIndex(({ shape }) => shape.length === 2); // not the evidence

  /**
   * Reads a picture of RGBA bytes, the largest face first:
   * [{box, square, tile, probabilities, best, uncertain, name, colour}].
   */
  async function read(image, camera = false) {
    const faces = [];
    for (const box of await detect(image, camera)) {
      const square = cropSquare(box, crop);
      const tile = resample(image, square, size, size);
      const probabilities = await predict(tile);
      const best = probabilities.indexOf(Math.max(...probabilities));
      const uncertain = probabilities[best] < least;
      const shown = { uncertain, name: labels[best] + (uncertain ? "?" : ""), colour: colours[best] };
      faces.push({ box, square, tile, probabilities, best, ...shown });
    }
    return faces;
  }

  /** Returns the probabilities of a tile of RGB floats in [0, 255]. */
  async function predict(tile) {
    const values = dtype === "uint8" ? Uint8Array.from(tile, Math.round) : tile;
    const answer = (await infer(classifier, values, [...shape]))[output];
    const sum = answer.reduce((total, value) => total + value); // 8 bits round it off
    return Array.from(answer, (value) => value / sum);
  }

  /** By how much covering each pixel of a face makes its answer less probable: fer/occlusion.py. */
  async function importance({ tile, best }) {
    const mean = [0, 1, 2].map((at) => tile.filter((_, of) => of % 3 === at).reduce((a, b) => a + b) / size ** 2);
    const clip = (chance) => Math.min(Math.max(chance, 1 / 256), 255 / 256);
    const odds = async (shown) => -Math.log(1 / clip((await predict(shown))[best]) - 1);
    const [whole, total, count] = [await odds(tile), new Float32Array(size ** 2), new Float32Array(size ** 2)];
    for (const [top, left] of patches) {
      const pixels = Array.from({ length: side ** 2 }, (_, at) => (top + Math.floor(at / side)) * size + left + (at % side));
      const covered = tile.slice();
      for (const pixel of pixels) covered.set(mean, 3 * pixel);
      const fall = whole - (await odds(covered));
      for (const pixel of pixels) (total[pixel] += fall), count[pixel]++;
    }
    return total.map((value, at) => value / count[at]);
  }

  return { settings, read, predict, importance };
}

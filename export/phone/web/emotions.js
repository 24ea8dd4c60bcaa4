// Loads the two networks, and reads the faces of a picture: fer/recognizer.py in the browser.
import { loadAndCompile, loadLiteRt, supportsFeature } from "./litert/index.js";
import { FaceDetector, infer } from "./faces.js";
import { cropSquare, resample } from "./tile.js";

/** Loads everything that reading needs. */
export async function loadRecognizer() {
  const wasm = `litert/litert_wasm_${(await supportsFeature("relaxedSimd")) ? "" : "compat_"}internal`;
  const files = [`${wasm}.wasm.gz`, "face_detector.tflite.gz", "model.tflite.gz", "settings.json"];
  const [wasmBinary, detector, model, text] = await Promise.all(files.map(unpacked));
  self.Module = { wasmBinary }; // LiteRT.js would look for it without .gz
  await loadLiteRt(`${wasm}.js`);
  const settings = JSON.parse(new TextDecoder().decode(text));
  const classifier = await loadAndCompile(model, { accelerator: "wasm" }); // so small that a GPU gains nothing
  return new Recognizer(settings, new FaceDetector(detector, settings.detector), classifier);
}

// Compressed by the exporter, so that any host will do; some unpack by themselves.
async function unpacked(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Recognizer {
  constructor(settings, detector, classifier) {
    Object.assign(this, { settings, detector, classifier });
    this.output = classifier.getOutputDetails().findIndex(({ shape }) => shape.length === 2); // not the evidence
  }

  /** Reads a picture of RGBA bytes: [{box, square, tile, probabilities, best}], the largest face first. */
  async read(image, camera = false) {
    const { crop, tile_size: size } = this.settings;
    const faces = [];
    for (const box of await this.detector.detect(image, camera)) {
      const square = cropSquare(box, crop);
      const tile = resample(image, square, size, size);
      const probabilities = await this.predict(tile);
      faces.push({ box, square, tile, probabilities, best: probabilities.indexOf(Math.max(...probabilities)) });
    }
    return faces;
  }

  /** Returns the probabilities of a tile of RGB floats in [0, 255]. */
  async predict(tile) {
    const [{ dtype, shape }] = this.classifier.getInputDetails();
    const values = dtype === "uint8" ? Uint8Array.from(tile, Math.round) : tile;
    const answer = (await infer(this.classifier, values, [...shape]))[this.output];
    const sum = answer.reduce((total, value) => total + value); // 8 bits round it off
    return Array.from(answer, (value) => value / sum);
  }

  /** By how much covering each pixel of a face makes its answer less probable: fer/occlusion.py. */
  async importance({ tile, best }) {
    const { tile_size: size, patches } = this.settings;
    const side = Math.floor(size / 4);
    const edges = Array.from({ length: patches }, (_, at) => Math.round((at * (size - side)) / (patches - 1)));
    const mean = [0, 1, 2].map((at) => tile.filter((_, of) => of % 3 === at).reduce((a, b) => a + b) / size ** 2);
    const odds = async (shown) => {
      const chance = Math.min(Math.max((await this.predict(shown))[best], 1 / 256), 255 / 256);
      return Math.log(chance / (1 - chance));
    };
    const whole = await odds(tile);
    const [total, count] = [new Float32Array(size * size), new Float32Array(size * size)];
    const patch = Array.from({ length: side * side }, (_, at) => Math.floor(at / side) * size + (at % side));
    for (const corner of edges.flatMap((top) => edges.map((left) => top * size + left))) {
      const covered = tile.slice();
      for (const at of patch) covered.set(mean, 3 * (corner + at));
      const fall = whole - (await odds(covered));
      for (const at of patch) (total[corner + at] += fall), count[corner + at]++;
    }
    return total.map((value, at) => value / count[at]);
  }
}

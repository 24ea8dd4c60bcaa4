// Where the faces are: MediaPipe's BlazeFace, used as in fer/faces.py, whose numbers are in settings.json.
import { Tensor, getWebGpuDevice, loadAndCompile } from "./litert/index.js";
import { cropSquare, resample } from "./tile.js";

const KEPT = 4; // networks, one for each size of input: a camera needs three

export class FaceDetector {
  #networks = new Map();

  constructor(bytes, settings) {
    Object.assign(this, { bytes, settings });
  }

  /**
   * Finds the faces of a picture of RGBA bytes: [{x, y, width, height, score}], largest first.
   * A camera's frame gets only quick looks, which miss small faces.
   */
  async detect(image, camera = false) {
    const { looks, quick_looks: quick, finer, finer_shows_more: more, small } = this.settings;
    const boxes = [];
    for (const look of camera ? quick : looks) boxes.push(...(await this.#look(image, look)));
    const faces = await this.#believed(image, boxes);
    const scale = scaleOf(image, looks[0]);
    const smallest = faces.length ? Math.min(...faces.map((face) => face.width)) : 0;
    if (camera || scaleOf(image, finer) < more * scale || smallest * scale >= small) return faces;
    return this.#believed(image, [...boxes, ...(await this.#look(image, finer))]);
  }

  async #look(image, look) {
    const scale = scaleOf(image, look);
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(scale * side)));
    const found = await this.#run(image, [0, 0, image.width, image.height], width, height, this.settings.propose);
    return found.map((box) => moved(box, 0, 0, image.width / width, image.height / height));
  }

  async #believed(image, boxes) {
    const kept = []; // what is mostly inside a larger face is dropped: a mouth can look like a face
    for (const face of merge(boxes).sort((a, b) => area(b) - area(a)))
      if ((await this.#holds(image, face)) && kept.every((larger) => common(face, larger) <= 0.7 * area(face)))
        kept.push(face);
    return kept;
  }

  async #holds(image, face) {
    const { sure, close, confirm, native } = this.settings;
    if (face.score >= sure || face.width * close.scale > Math.max(image.width, image.height)) return true;
    const square = cropSquare(face, close);
    const seen = moved(face, square[0], square[1], native / square[2], native / square[2]);
    const least = Math.min(Math.max(2 * confirm - face.score, 0.01), 0.99);
    return merge(await this.#run(image, square, native, native, least)).some((again) => overlap(seen, again) > 0.4);
  }

  // Shows the network a part of the picture in a size; returns the boxes above a score, in that size.
  async #run(image, part, wide, high, least) {
    const { stride, anchors } = this.settings;
    const [width, height] = [wide, high].map((side) => Math.ceil(side / stride) * stride);
    const pixels = new Float32Array(3 * width * height).fill(-1);
    const seen = resample(image, part, wide, high).map((value) => value / 127.5 - 1);
    for (let y = 0; y < high; y++) pixels.set(seen.subarray(3 * wide * y, 3 * wide * (y + 1)), 3 * width * y);
    const [edges, logits] = await this.#infer(pixels, width, height);
    const boxes = [];
    let index = 0;
    for (const [step, repeats] of anchors)
      for (let y = step / 2; y < height; y += step)
        for (let x = step / 2; x < width; x += step)
          for (let repeat = 0; repeat < repeats; repeat++, index++) {
            const score = 1 / (1 + Math.exp(-logits[index]));
            if (score <= least) continue;
            const [dx, dy, width, height] = edges.subarray(16 * index);
            boxes.push({ x: x + dx - width / 2, y: y + dy - height / 2, width, height, score });
          }
    return boxes;
  }

  async #infer(pixels, width, height) {
    const size = `${width} ${height}`;
    if (!this.#networks.has(size)) {
      if (this.#networks.size === KEPT) this.#networks.forEach((network) => network.delete());
      if (this.#networks.size === KEPT) this.#networks.clear();
      this.#networks.set(size, await this.#compile(width, height));
    }
    return infer(this.#networks.get(size), pixels, [1, height, width, 3]);
  }

  // LiteRT.js runs the shapes that are in the file; settings.json tells where they are.
  #compile(width, height) {
    const { native, shapes } = this.settings;
    const bytes = this.bytes.slice();
    const view = new DataView(bytes.buffer);
    for (const [offset, down, across] of shapes)
      view.setInt32(offset, view.getInt32(offset, true) * (height / native) ** down * (width / native) ** across, true);
    const gpu = { accelerator: "webgpu", gpuOptions: { precision: "fp32" } };
    const cpu = { accelerator: "wasm" };
    const device = getWebGpuDevice();
    if (!device || device.adapterInfo?.isFallbackAdapter) return loadAndCompile(bytes, cpu); // software is slower
    return loadAndCompile(bytes, gpu).catch(() => loadAndCompile(bytes, cpu));
  }
}

/** Runs a network; returns the values of its outputs. */
export async function infer(network, values, shape) {
  const input = new Tensor(values, shape);
  const outputs = await network.run(input);
  const found = await Promise.all(outputs.map((output) => output.data()));
  [input, ...outputs].forEach((tensor) => tensor.delete());
  return found;
}

function scaleOf({ width, height }, { pixels, enlarge }) {
  const side = Math.sqrt(pixels);
  return Math.min(side / Math.sqrt(width * height), (8 * side) / Math.max(width, height), enlarge ? Infinity : 1);
}

function moved({ x, y, width, height, score }, left, top, across, down) {
  return { x: (x - left) * across, y: (y - top) * down, width: width * across, height: height * down, score };
}

const area = ({ width, height }) => width * height;
const overlap = (a, b) => common(a, b) / (area(a) + area(b) - common(a, b));

function common(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  return Math.max(0, width) * Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));
}

// MediaPipe's weighted non-maximum suppression: the boxes of one face, averaged by score.
function merge(boxes) {
  const faces = [];
  for (let rest = [...boxes].sort((a, b) => b.score - a.score); rest.length; ) {
    const [best] = rest;
    const same = rest.filter((box) => box === best || overlap(best, box) > 0.3);
    const total = same.reduce((sum, box) => sum + box.score, 0);
    const mean = (side) => same.reduce((sum, box) => sum + box[side] * box.score, 0) / total;
    faces.push({ x: mean("x"), y: mean("y"), width: mean("width"), height: mean("height"), score: best.score });
    rest = rest.filter((box) => !same.includes(box));
  }
  return faces;
}

// Where the faces are: MediaPipe's BlazeFace, used as in fer/faces.py, whose numbers are in settings.json.
import { Tensor, getWebGpuDevice, loadAndCompile } from "./litert/index.js";
import { cropSquare, resample } from "./tile.js";

const KEPT = 4; // networks, one for each size of input: a camera needs three

export class FaceDetector {
  #networks = new Map();

  constructor(bytes, settings) {
    Object.assign(this, { bytes, settings, accelerator: getWebGpuDevice() ? "webgpu" : "wasm" });
  }

  /** Finds the faces of a picture of RGBA bytes: [{x, y, width, height, score}], largest first. */
  async detect(image) {
    const { looks, finer, finer_shows_more: more, small } = this.settings;
    const boxes = [];
    for (const look of looks) boxes.push(...(await this.#look(image, look)));
    const faces = await this.#believed(image, boxes);
    const scale = scaleOf(image, looks[0]);
    const smallest = faces.length ? Math.min(...faces.map((face) => face.width)) : 0;
    if (scaleOf(image, finer) < more * scale || smallest * scale >= small) return faces;
    return this.#believed(image, [...boxes, ...(await this.#look(image, finer))]);
  }

  async #look(image, look) {
    const sides = [image.width, image.height].map((side) => Math.max(1, Math.round(scaleOf(image, look) * side)));
    const seen = resample(image, [0, 0, image.width, image.height], ...sides);
    const found = await this.#run(seen, this.settings.propose);
    return found.map((box) => moved(box, 0, 0, image.width / sides[0], image.height / sides[1]));
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
    const zoom = native / square[2];
    const least = Math.min(Math.max(2 * confirm - face.score, 0.01), 0.99);
    const found = merge(await this.#run(resample(image, square, native, native), least));
    return found.some((again) => overlap(moved(face, square[0], square[1], zoom, zoom), again) > 0.4);
  }

  async #run(view, least) {
    const { stride, anchors } = this.settings;
    const [width, height] = [view.width, view.height].map((side) => Math.ceil(side / stride) * stride);
    const pixels = new Float32Array(3 * width * height).fill(-1);
    view.data.forEach((value, at) => {
      pixels[at + 3 * (width - view.width) * Math.floor(at / (3 * view.width))] = value / 127.5 - 1;
    });
    const [edges, logits] = await this.#infer(pixels, width, height);
    const boxes = [];
    let index = 0;
    for (const [step, repeats] of anchors)
      for (let y = step / 2; y < height; y += step)
        for (let x = step / 2; x < width; x += step)
          for (let repeat = 0; repeat < repeats; repeat++, index++) {
            const score = 1 / (1 + Math.exp(-logits[index]));
            if (score <= least) continue;
            const [dx, dy, wide, high] = edges.subarray(16 * index);
            boxes.push({ x: x + dx - wide / 2, y: y + dy - high / 2, width: wide, height: high, score });
          }
    return boxes;
  }

  async #infer(pixels, width, height) {
    const name = `${width} ${height} ${this.accelerator}`;
    try {
      if (this.#networks.size === KEPT && !this.#networks.has(name)) {
        this.#networks.forEach((network) => network.delete());
        this.#networks.clear();
      }
      if (!this.#networks.has(name)) this.#networks.set(name, await this.#compile(width, height));
      return await infer(this.#networks.get(name), pixels, [1, height, width, 3]);
    } catch (error) {
      if (this.accelerator === "wasm") throw error;
      this.accelerator = "wasm"; // the graphics driver cannot
      return this.#infer(pixels, width, height);
    }
  }

  // LiteRT.js runs the shapes that are in the file; settings.json tells where they are.
  #compile(width, height) {
    const { native, shapes } = this.settings;
    const bytes = this.bytes.slice();
    const view = new DataView(bytes.buffer);
    for (const [offset, down, across] of shapes)
      view.setInt32(offset, view.getInt32(offset, true) * (height / native) ** down * (width / native) ** across, true);
    return loadAndCompile(bytes, { accelerator: this.accelerator, gpuOptions: { precision: "fp32" } });
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

const area = (face) => face.width * face.height;

function common(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}

const overlap = (a, b) => common(a, b) / (area(a) + area(b) - common(a, b));

// MediaPipe's weighted non-maximum suppression: the boxes of one face, averaged by score.
function merge(boxes) {
  const faces = [];
  for (let rest = [...boxes].sort((a, b) => b.score - a.score); rest.length; ) {
    const same = rest.filter((box) => box === rest[0] || overlap(rest[0], box) > 0.3);
    const total = same.reduce((sum, box) => sum + box.score, 0);
    const mean = (side) => same.reduce((sum, box) => sum + box[side] * box.score, 0) / total;
    const [x, y, width, height] = ["x", "y", "width", "height"].map(mean);
    faces.push({ x, y, width, height, score: rest[0].score });
    rest = rest.filter((box) => !same.includes(box));
  }
  return faces;
}

// Where the faces are: MediaPipe's BlazeFace, used as in fer/faces.py, whose numbers are in settings.json.
import { Tensor, getWebGpuDevice, loadAndCompile, setWebGpuDevice } from "./litert/index.js";
import { cropSquare, resample } from "./tile.js";

const KEPT = 4; // networks, one for each size of input: a camera needs three

/** Returns detect() for the network's file and the settings of the detector. */
export function faceDetector(file, { looks, quick_looks: quick, finer, finer_shows_more: more, ...settings }) {
  const { small, propose, sure, close, confirm, native, stride, anchors, shapes } = settings;
  const networks = new Map();
  getWebGpuDevice()?.lost.then(() => { setWebGpuDevice(null); networks.clear(); }); // from then on, without

  /**
   * Finds the faces of a picture of RGBA bytes: [{x, y, width, height, score}], largest first.
   * A camera's frame gets only quick looks, which miss small faces.
   */
  return async function detect(image, camera = false) {
    const boxes = [];
    for (const size of camera ? quick : looks) boxes.push(...(await look(image, size)));
    const faces = await believed(image, boxes);
    const scale = scaleOf(image, looks[0]);
    const smallest = faces.length ? Math.min(...faces.map((face) => face.width)) : 0;
    if (camera || scaleOf(image, finer) < more * scale || smallest * scale >= small) return faces;
    return believed(image, [...boxes, ...(await look(image, finer))]);
  };

  function look(image, size) {
    const seen = [image.width, image.height].map((side) => Math.max(1, Math.round(scaleOf(image, size) * side)));
    return run(image, [0, 0, image.width, image.height], ...seen, propose);
  }

  async function believed(image, boxes) {
    const kept = []; // what is mostly inside a larger face is dropped: a mouth can look like a face
    for (const face of merge(boxes).sort((a, b) => area(b) - area(a)))
      if ((await holds(image, face)) && kept.every((larger) => common(face, larger) <= 0.7 * area(face)))
        kept.push(face);
    return kept;
  }

  async function holds(image, face) {
    if (face.score >= sure || face.width * close.scale > Math.max(image.width, image.height)) return true;
    const least = Math.min(Math.max(2 * confirm - face.score, 0.01), 0.99);
    const found = await run(image, cropSquare(face, close), native, native, least);
    return merge(found).some((again) => overlap(face, again) > 0.4);
  }

  // Shows the network a part of the picture in a size; returns the boxes above a score.
  async function run(image, part, wide, high, least) {
    const [width, height] = [wide, high].map((side) => Math.ceil(side / stride) * stride);
    const pixels = new Float32Array(3 * width * height).fill(-1);
    const seen = resample(image, part, wide, high).map((value) => value / 127.5 - 1);
    for (let y = 0; y < high; y++) pixels.set(seen.subarray(3 * wide * y, 3 * wide * (y + 1)), 3 * width * y);
    const [edges, logits] = await infer(await network(width, height), pixels, [1, height, width, 3]);
    const [left, top, across, down] = [part[0], part[1], part[2] / wide, part[3] / high];
    let [boxes, index] = [[], 0];
    for (const [step, repeats] of anchors)
      for (let y = step / 2; y < height; y += step)
        for (let x = step / 2; x < width; x += step)
          for (let repeat = 0; repeat < repeats; repeat++, index++) {
            const score = 1 / (1 + Math.exp(-logits[index]));
            if (score <= least) continue;
            const [dx, dy, w, h] = edges.subarray(16 * index);
            const corner = { x: left + (x + dx - w / 2) * across, y: top + (y + dy - h / 2) * down };
            boxes.push({ ...corner, width: w * across, height: h * down, score });
          }
    return boxes;
  }

  // LiteRT.js runs the shapes that are in the file; settings.json tells where they are.
  async function network(width, height) {
    const size = `${width} x ${height}`;
    if (networks.has(size)) return networks.get(size);
    if (networks.size >= KEPT) networks.forEach((old, key) => networks.delete(key) && old.delete());
    const view = new DataView(file.slice().buffer);
    for (const [place, down, across] of shapes)
      view.setInt32(place, view.getInt32(place, true) * (height / native) ** down * (width / native) ** across, true);
    const load = (options) => loadAndCompile(new Uint8Array(view.buffer), options);
    const slow = getWebGpuDevice()?.adapterInfo?.isFallbackAdapter ?? !getWebGpuDevice(); // in software, or none
    const onGpu = slow ? Promise.reject() : load({ accelerator: "webgpu", gpuOptions: { precision: "fp32" } });
    return networks.set(size, await onGpu.catch(() => load({ accelerator: "wasm" }))).get(size);
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

// How large a look sees a picture: 0.5 is half its width.
const scaleOf = ({ width: w, height: h }, { pixels, enlarge }) =>
  Math.min(enlarge ? Infinity : 1, Math.sqrt(pixels / (w * h)), (8 * Math.sqrt(pixels)) / Math.max(w, h));

const area = ({ width, height }) => width * height;
const along = (a, b, at, size) => Math.max(0, Math.min(a[at] + a[size], b[at] + b[size]) - Math.max(a[at], b[at]));
const common = (a, b) => along(a, b, "x", "width") * along(a, b, "y", "height");
const overlap = (a, b) => common(a, b) / (area(a) + area(b) - common(a, b));

// MediaPipe's weighted non-maximum suppression: the boxes of one face, averaged by score.
function merge(boxes) {
  if (!boxes.length) return [];
  const best = boxes.reduce((most, box) => (box.score > most.score ? box : most));
  const agrees = (box) => box === best || overlap(best, box) > 0.3;
  const [same, others] = [boxes.filter(agrees), boxes.filter((box) => !agrees(box))];
  const sum = (value) => same.reduce((total, box) => total + value(box), 0);
  const mean = (side) => sum((box) => box[side] * box.score) / sum((box) => box.score);
  const face = { x: mean("x"), y: mean("y"), width: mean("width"), height: mean("height"), score: best.score };
  return [face, ...merge(others)];
}

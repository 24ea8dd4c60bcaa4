// Pixels in another size, as fer/tile.py has them: area averages when shrinking, bilinear with
// half-pixel centres when enlarging. A canvas would answer differently in each browser.

/**
 * Resizes a part of a picture; where it reaches past the picture, the picture's edge is repeated.
 * image: {data, width, height}, RGBA bytes. part: [left, top, width, height] in whole pixels.
 * Returns RGB floats in [0, 255].
 */
export function resample(image, part, width, height) {
  const across = taps(part[0], part[2], image.width, width);
  const down = taps(part[1], part[3], image.height, height);
  const [data, row] = [new Float32Array(3 * width * height), new Float32Array(3 * width)];
  // The same row of the picture often serves two of the result.
  for (let tap = 0, filled = -1; tap < down.length; tap += 3) {
    const [y, from, weight] = down.subarray(tap, tap + 3);
    if (from !== filled) resize(image.data, 4 * image.width * (filled = from), across, row);
    for (let at = 0; at < row.length; at++) data[y * row.length + at] += weight * row[at];
  }
  return data;
}

function resize(pixels, start, across, row) {
  row.fill(0);
  for (let tap = 0; tap < across.length; tap += 3) {
    const to = 3 * across[tap]; // unrolled, this takes half the time
    const from = start + 4 * across[tap + 1];
    row[to] += across[tap + 2] * pixels[from];
    row[to + 1] += across[tap + 2] * pixels[from + 1];
    row[to + 2] += across[tap + 2] * pixels[from + 2];
  }
}

// Triples, for each place of the result in turn: the place, a pixel of the picture, its share.
// Bilinear is an average too, over a pixel's width around the place.
function taps(first, length, limit, size) {
  const [found, scale] = [[], length / size];
  const clip = (at, count) => Math.min(Math.max(at, 0), count - 1);
  for (let place = 0; place < size; place++) {
    const start = scale > 1 ? place * scale : (place + 0.5) * scale - 0.5;
    const end = start + Math.max(scale, 1);
    for (let at = Math.floor(start); at < end; at++) {
      const share = (Math.min(at + 1, end) - Math.max(at, start)) / (end - start);
      found.push(place, clip(first + clip(at, length), limit), share);
    }
  }
  return Float64Array.from(found);
}

/** The square that frames a face, as [left, top, side, side]: crop_square in fer/faces.py. */
export function cropSquare({ x, y, width, height }, { scale, offset_y: down }) {
  const side = scale * Math.max(width, height);
  const part = [x + (width - side) / 2, y + (height - side) / 2 + down * side, side, side];
  return part.map((edge, at) => Math.max(Math.floor(edge + 0.5), at < 2 ? -Infinity : 1));
}

// Pixels in another size, as fer/tile.py has them: area averages when shrinking, bilinear with
// half-pixel centres when enlarging. A canvas would answer differently in each browser.

/**
 * Resizes a part of a picture; where it reaches past the picture, the picture's edge is repeated.
 * image: {data, width, height}, RGBA bytes. part: [left, top, width, height] in whole pixels.
 * Returns RGB floats in [0, 255].
 */
export function resample(image, part, width, height) {
  const across = taps(part[0], part[2], image.width, width);
  const data = new Float32Array(3 * width * height);
  const row = new Float32Array(3 * width);
  let filled = -1; // which row of the picture `row` holds, resized across
  taps(part[1], part[3], image.height, height).forEach((rows, y) => {
    const out = data.subarray(3 * width * y, 3 * width * (y + 1));
    for (const [from, weight] of rows) {
      if (from !== filled) fill(row, image.data, 4 * image.width * (filled = from), across);
      for (let at = 0; at < out.length; at++) out[at] += weight * row[at];
    }
  });
  return data;
}

function fill(row, pixels, start, across) {
  row.fill(0);
  for (let x = 0; x < across.length; x++)
    for (const [column, weight] of across[x])
      for (let channel = 0; channel < 3; channel++)
        row[3 * x + channel] += weight * pixels[start + 4 * column + channel];
}

// For each place of the result: which pixels of the picture, and how much of each.
function taps(first, length, limit, size) {
  const scale = length / size;
  const clip = (at, highest) => Math.min(Math.max(at, 0), highest);
  const pixel = (at) => clip(first + clip(at, length - 1), limit - 1);
  return Array.from({ length: size }, (_, place) => {
    const start = scale > 1 ? place * scale : (place + 0.5) * scale - 0.5;
    const from = Math.floor(start);
    if (scale <= 1) return [[pixel(from), 1 - start + from], [pixel(from + 1), start - from]];
    const end = Math.min(start + scale, length);
    const share = (at) => (Math.min(at + 1, end) - Math.max(at, start)) / (end - start);
    return Array.from({ length: Math.ceil(end) - from }, (_, step) => [pixel(from + step), share(from + step)]);
  });
}

/** The square that frames a face, as [left, top, side, side]: crop_square in fer/faces.py. */
export function cropSquare({ x, y, width, height }, crop) {
  const side = crop.scale * Math.max(width, height);
  const [left, top] = [x + (width - side) / 2, y + (height - side) / 2 + crop.offset_y * side];
  const whole = Math.max(1, Math.floor(side + 0.5));
  return [Math.floor(left + 0.5), Math.floor(top + 0.5), whole, whole];
}

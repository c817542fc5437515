// Resampling as torch's F.interpolate(mode="bicubic", antialias=True) computes it, row by row: only
// the rows that one row of the result depends on are held as floats, however large the picture.
// A row is a Float32Array of four values a pixel: red, green, blue and one more.

export const CHANNELS = 4;

const keys = (x) => // Keys' cubic, a = -0.5
  x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;

/** Which source pixels a pixel of the result is made of, and their weights, `most` a pixel. */
function tapsOf(from, to) {
  const scale = from / to;
  const wide = Math.max(scale, 1); // the kernel is only widened where the picture shrinks
  const most = 2 * Math.ceil(2 * wide) + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float32Array(to * most);
  for (let at = 0; at < to; at++) {
    const centre = scale * (at + 0.5);
    first[at] = Math.max(0, Math.trunc(centre - 2 * wide + 0.5));
    count[at] = Math.min(from, Math.trunc(centre + 2 * wide + 0.5)) - first[at];
    let total = 0;
    const found = [];
    for (let tap = 0; tap < count[at]; tap++) {
      found.push(keys(Math.abs((first[at] + tap - centre + 0.5) / wide)));
      total += found[tap];
    }
    found.forEach((weight, tap) => { weights[at * most + tap] = weight / total; });
  }
  return { first, count, weights, most };
}

function stretch(source, result, { first, count, weights, most }) {
  for (let x = 0, at = 0; x < first.length; x++, at += CHANNELS) {
    let [a, b, c, d] = [0, 0, 0, 0];
    const start = x * most;
    for (let tap = 0, from = first[x] * CHANNELS; tap < count[x]; tap++, from += CHANNELS) {
      const weight = weights[start + tap];
      a += weight * source[from];
      b += weight * source[from + 1];
      c += weight * source[from + 2];
      d += weight * source[from + 3];
    }
    result[at] = a;
    result[at + 1] = b;
    result[at + 2] = c;
    result[at + 3] = d;
  }
}

/**
 * Yields the rows of a picture at another size, clamped to [0, 1], each in the same array.
 * `readRow(y, row)` writes a row of the picture; it is called once for each, in order.
 */
export function* resampled(readRow, width, height, toWidth, toHeight) {
  const across = tapsOf(width, toWidth);
  const down = tapsOf(height, toHeight);
  const ring = Array.from({ length: down.most }, () => new Float32Array(toWidth * CHANNELS));
  const source = new Float32Array(width * CHANNELS);
  const result = new Float32Array(toWidth * CHANNELS);
  for (let y = 0, read = 0; y < toHeight; y++) {
    const first = down.first[y];
    for (; read < first + down.count[y]; read++) {
      readRow(read, source);
      stretch(source, ring[read % down.most], across);
    }
    result.fill(0);
    for (let tap = 0; tap < down.count[y]; tap++) {
      const weight = down.weights[y * down.most + tap];
      const row = ring[(first + tap) % down.most];
      for (let at = 0; at < result.length; at++) result[at] += weight * row[at];
    }
    for (let at = 0; at < result.length; at++) result[at] = Math.min(1, Math.max(0, result[at]));
    yield result;
  }
}

/** Rounds as Python does, halves to even numbers, so that sizes are those of `fst stylize`. */
export function round(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

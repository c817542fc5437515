// What `fst stylize` does around the network (fst/stylizing): strokes of another size, details
// that the enlarged result lost, kept colours, strength. Pictures are { width, height, rgba }.

import { CHANNELS, resampled, round } from "./resample.js";

/** Pixels that the network sees at most: beyond, browsers run out of memory. */
export const MOST_SEEN = 4_000_000;
const LOOKS_BEST_PX = 512;
const NOT_WORTH_IT = 1.25;
export const STROKES = [0.25, 16];

/** How large strokes are unless somebody says otherwise, as `Options.strokes_in` has it. */
export function usualStrokes(width, height) {
  const factor = Math.min(width, height) / LOOKS_BEST_PX;
  return factor > NOT_WORTH_IT ? Math.min(factor, STROKES[1]) : 1;
}

/** Width and height of what the network sees. */
export const seenSize = ({ width, height }, strokes) =>
  [width, height].map((length) => Math.max(1, round(length * (1 / strokes))));

const luminance = (red, green, blue) => 0.299 * red + 0.587 * green + 0.114 * blue;

/** What the network sees of a picture, as planes, (3, height, width) in [0, 1]. */
export function seenOf(picture, strokes) {
  const [width, height] = seenSize(picture, strokes);
  const area = width * height;
  const planes = new Float32Array(3 * area);
  const { rgba } = picture;
  if (strokes === 1) {
    for (let pixel = 0, at = 0; pixel < area; pixel++, at += 4) {
      planes[pixel] = rgba[at] / 255;
      planes[pixel + area] = rgba[at + 1] / 255;
      planes[pixel + 2 * area] = rgba[at + 2] / 255;
    }
    return { planes, width, height };
  }
  const stride = 4 * picture.width;
  const readRow = (y, row) => {
    for (let at = 0, from = y * stride; at < stride; at++, from++) row[at] = rgba[from] / 255;
  };
  let pixel = 0;
  for (const row of resampled(readRow, picture.width, picture.height, width, height)) {
    for (let at = 0; at < row.length; at += CHANNELS, pixel++) {
      planes[pixel] = row[at];
      planes[pixel + area] = row[at + 1];
      planes[pixel + 2 * area] = row[at + 2];
    }
  }
  return { planes, width, height };
}

/**
 * Yields the rows of a network's result at any size: red, green, blue, and the luminance of what
 * the network saw there, which `finish` takes from the picture's own.
 */
export function* rowsOf({ stylized, seen }, toWidth, toHeight) {
  const { width, height, planes } = seen;
  const area = width * height;
  const readRow = (y, row) => {
    for (let at = 0, pixel = y * width; at < row.length; at += CHANNELS, pixel++) {
      row[at] = stylized[pixel];
      row[at + 1] = stylized[pixel + area];
      row[at + 2] = stylized[pixel + 2 * area];
      row[at + 3] = luminance(planes[pixel], planes[pixel + area], planes[pixel + 2 * area]);
    }
  };
  if (width !== toWidth || height !== toHeight) {
    yield* resampled(readRow, width, height, toWidth, toHeight);
    return;
  }
  const row = new Float32Array(width * CHANNELS);
  for (let y = 0; y < height; y++) {
    readRow(y, row);
    yield row;
  }
}

const clamp = (value) => (value < 0 ? 0 : value > 1 ? 1 : value);

/** Writes pixels of the finished picture: those of `row` over as many of `rgba` from `at` on. */
export function finish(row, rgba, at, { strength, keepColours, details }, result, to) {
  for (let from = 0; from < row.length; from += CHANNELS, at += 4, to += 4) {
    const red = rgba[at] / 255;
    const green = rgba[at + 1] / 255;
    const blue = rgba[at + 2] / 255;
    let r = row[from];
    let g = row[from + 1];
    let b = row[from + 2];
    if (details) {
      const lost = luminance(red, green, blue) - row[from + 3];
      r = clamp(r + lost);
      g = clamp(g + lost);
      b = clamp(b + lost);
    }
    if (keepColours) {
      const change = luminance(r - red, g - green, b - blue);
      r = clamp(red + change);
      g = clamp(green + change);
      b = clamp(blue + change);
    }
    result[to] = 255 * (red + strength * (r - red));
    result[to + 1] = 255 * (green + strength * (g - green));
    result[to + 2] = 255 * (blue + strength * (b - blue));
    result[to + 3] = rgba[at + 3];
  }
}

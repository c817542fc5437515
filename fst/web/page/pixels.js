// From a file's bytes to pixels, in the worker.

const STRIP_PX = 2_000_000;
/** Longest side of what is shown: more pixels than most screens have for it, and quick to blend. */
const SHOWN_PX = 1600;
/** Up to this alpha, of 255, colours are lost in rounding, and not visible. */
const MIN_ALPHA = 8;
const FILLED_PX = 1_000_000;

function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  return { canvas, context };
}

/** Pixels of a drawable in strips: a canvas of the whole would double the memory. */
export function pixelsOf(bitmap, width = bitmap.width, height = bitmap.height, ground = null) {
  const rgba = new Uint8ClampedArray(4 * width * height);
  const step = Math.max(1, Math.min(height, Math.floor(STRIP_PX / width)));
  const { context } = canvasOf(width, step);
  for (let top = 0; top < height; top += step) {
    context.clearRect(0, 0, width, step);
    if (ground) {
      context.fillStyle = ground;
      context.fillRect(0, 0, width, step);
    }
    context.drawImage(bitmap, 0, -top, width, height);
    const rows = Math.min(step, height - top);
    rgba.set(context.getImageData(0, 0, width, rows).data, 4 * width * top);
  }
  return { width, height, rgba };
}

/** Width and height, scaled down so that the longer is at most `longest`. */
export function within(longest, { width, height }) {
  const scale = Math.min(1, longest / Math.max(width, height));
  return [width, height].map((length) => Math.max(1, Math.round(length * scale)));
}

/** A photograph, and what is shown of it: the same pixels unless it is large. */
export async function decode(file) {
  const bitmap = await createImageBitmap(file);
  const whole = pixelsOf(bitmap);
  const [width, height] = within(SHOWN_PX, bitmap);
  const shown = width === whole.width && height === whole.height ? whole : pixelsOf(bitmap, width, height);
  bitmap.close();
  continueColours(whole);
  return { whole, shown };
}

export function toBitmap({ width, height, rgba }) {
  const { canvas, context } = canvasOf(width, height);
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas.transferToImageBitmap();
}

/**
 * Continues colours to where a picture is transparent, so that the network sees no edge there:
 * fst/pictures/transparency.py, which says more.
 */
function continueColours({ width, height, rgba }) {
  let [hidden, visible] = [false, false];
  for (let at = 3; at < rgba.length && !(hidden && visible); at += 4)
    if (rgba[at] > MIN_ALPHA) visible = true;
    else hidden = true;
  if (!(hidden && visible)) return;
  const factor = Math.ceil(Math.sqrt((width * height) / FILLED_PX));
  const small = filled(reduced(width, height, factor, (at, sums, to) => {
    if (rgba[4 * at + 3] <= MIN_ALPHA) return;
    for (let c = 0; c < 3; c++) sums[to + c] += rgba[4 * at + c];
    sums[to + 3] += 1;
  }));
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at += 4)
      if (rgba[at + 3] <= MIN_ALPHA)
        for (let c = 0; c < 3; c++) rgba[at + c] = between(small, (x + 0.5) / factor, (y + 0.5) / factor, c);
}

/** Sums over cells of `factor` squared pixels: red, green, blue, and how much is known. */
function reduced(width, height, factor, add) {
  const [across, down] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const sums = new Float32Array(4 * across * down);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at++)
      add(at, sums, 4 * (Math.floor(y / factor) * across + Math.floor(x / factor)));
  return { width: across, height: down, sums };
}

/** Turns sums into colours; unknown ones come from a picture of half the size. */
function filled({ width, height, sums }) {
  let known = true;
  for (let at = 3; at < sums.length && known; at += 4) known = sums[at] > 0;
  const coarse = known ? null : filled(reduced(width, height, 2, (at, half, to) => {
    for (let c = 0; c < 4; c++) half[to + c] += sums[4 * at + c];
  }));
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at += 4)
      for (let c = 0; c < 3; c++)
        sums[at + c] = sums[at + 3] > 0
          ? sums[at + c] / sums[at + 3]
          : between(coarse, ((x + 0.5) * coarse.width) / width, ((y + 0.5) * coarse.height) / height, c);
  return { width, height, sums };
}

/** A channel at a place, in pixels, by bilinear interpolation. */
function between({ width, height, sums }, x, y, channel) {
  const [left, top] = [Math.max(0, x - 0.5), Math.max(0, y - 0.5)];
  const [column, row] = [Math.min(width - 1, Math.floor(left)), Math.min(height - 1, Math.floor(top))];
  const [right, below] = [Math.min(width - 1, column + 1), Math.min(height - 1, row + 1)];
  const value = (at, line) => sums[4 * (line * width + at) + channel];
  const mix = (line) => value(column, line) + (left - column) * (value(right, line) - value(column, line));
  return mix(row) + (top - row) * (mix(below) - mix(row));
}

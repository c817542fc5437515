// All work on pixels, beside the page: requests are answered one after the other.

import { Networks } from "./network.js";
import { MOST_SEEN, finish, rowsOf, seenOf, seenSize } from "./painting.js";
import { decode, pixelsOf, toBitmap, within } from "./pixels.js";
import { Problem, inWords } from "./problem.js";
import { CHANNELS } from "./resample.js";

const PAINTING_PX = 1024;
/** From this strength on it is an input of the network for any painting. */
const MIN_TRAINED = 0.5;
const KEPT_VALUES = 12;

let networks;
let photograph; // { whole, shown }
let painted; // the network's last result: the page changes strength and colours without another run
const paintings = new Map();

const say = (progress) => postMessage({ progress });

const answers = {
  async open({ site }) {
    networks = new Networks(site, say);
  },

  async photograph({ file }) {
    let decoded;
    try {
      decoded = await decode(file);
    } catch {
      throw new Problem("This photograph could not be decoded: it may be damaged, or too large for this browser.");
    }
    photograph = decoded;
    painted = null;
    const { width, height } = photograph.whole;
    return { width, height, bitmap: toBitmap(photograph.shown) };
  },

  async show({ style, look }) {
    const started = performance.now();
    const { shown, whole } = photograph;
    await paint(style, look);
    const { width, height } = shown;
    if (!painted.rows) {
      painted.rows = new Float32Array(CHANNELS * width * height);
      let at = 0;
      for (const row of rowsOf(painted, width, height)) {
        painted.rows.set(row, at);
        at += row.length;
      }
    }
    const rgba = new Uint8ClampedArray(shown.rgba.length);
    finish(painted.rows, shown.rgba, 0, finishing(painted, style, look, whole), rgba, 0);
    return {
      bitmap: toBitmap({ width, height, rgba }),
      engine: networks.engine,
      seen: [painted.seen.width, painted.seen.height],
      ms: performance.now() - started,
    };
  },

  async save({ style, look, type, quality }) {
    await paint(style, look);
    const { width, height, rgba } = photograph.whole;
    say({ text: "Saving", share: null });
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const how = finishing(painted, style, look, photograph.whole);
    const strip = new ImageData(width, Math.min(height, 64));
    let y = 0;
    for (const row of rowsOf(painted, width, height)) {
      const line = y % strip.height;
      finish(row, rgba, 4 * width * y, how, strip.data, 4 * width * line);
      y++;
      if (line + 1 === strip.height || y === height) context.putImageData(strip, 0, y - line - 1, 0, 0, width, line + 1);
    }
    if (type === "image/jpeg") { // which has no transparency
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
    }
    return { blob: await canvas.convertToBlob({ type, quality }) };
  },

  async frame({ bitmap, style, look }) {
    const picture = pixelsOf(bitmap);
    bitmap.close();
    const result = await run(picture, style, look);
    const { width, height } = picture;
    const how = finishing(result, style, look, picture);
    const rgba = new Uint8ClampedArray(4 * width * height);
    let at = 0;
    for (const row of rowsOf(result, width, height)) {
      finish(row, picture.rgba, at, how, rgba, at);
      at += 4 * width;
    }
    return { bitmap: toBitmap({ width, height, rgba }), seen: [result.seen.width, result.seen.height], engine: networks.engine };
  },

  async painting({ name, file, model }) {
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Problem("This painting could not be decoded: it may be damaged, or of a kind that this browser cannot read.");
    });
    const picture = pixelsOf(bitmap, ...within(PAINTING_PX, bitmap), "white");
    const side = Math.min(bitmap.width, bitmap.height);
    const thumbnail = await createImageBitmap(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, {
      resizeWidth: 192, resizeHeight: 192, resizeQuality: "high",
    });
    bitmap.close();
    paintings.set(name, { seen: seenOf(picture, 1), values: new Map() });
    await valuesOf(model, { painting: name }, 1);
    return { thumbnail };
  },
};

/** What the network makes of a picture; `style` is what `planOf` found. */
async function run(picture, style, look) {
  const [width, height] = seenSize(picture, look.strokes);
  if (width * height > MOST_SEEN)
    throw new Problem(
      `With strokes this fine the network would paint ${Math.ceil(width * height / 1e6)} megapixels; a browser has memory for ${MOST_SEEN / 1e6}. Choose larger strokes.`,
    );
  const seen = seenOf(picture, look.strokes);
  const values = await blended(style, trainedStrength(style, look));
  return { seen, stylized: await networks.stylize(style.model, seen, values) };
}

/** Runs the network on the photograph, unless the last run was the same. */
async function paint(style, look) {
  const key = JSON.stringify([style, look.strokes, trainedStrength(style, look)]);
  if (painted?.key === key) return;
  painted = null; // its memory is needed
  say({ text: "Painting", share: null });
  painted = { key, ...(await run(photograph.whole, style, look)) };
}

const trainedStrength = (style, { strength }) => (style.trained ? Math.max(MIN_TRAINED, strength) : 1);

function finishing({ seen }, style, look, picture) {
  const trained = trainedStrength(style, look);
  return {
    strength: style.trained ? look.strength / trained : Math.min(1, look.strength),
    keepColours: look.keepColours,
    details: seen.width < picture.width,
  };
}

async function blended({ model, parts }, strength) {
  if (!parts) return undefined;
  const blend = new Float32Array(networks.model(model).size);
  for (const part of parts) {
    const values = await valuesOf(model, part, strength);
    for (let at = 0; at < blend.length; at++) blend[at] += part.share * values[at];
  }
  return blend;
}

async function valuesOf(model, part, strength) {
  if (part.painting === undefined) return networks.row(model, part.row);
  const { seen, values } = paintings.get(part.painting);
  if (!values.has(strength)) {
    say({ text: "Reading the painting", share: null });
    if (values.size >= KEPT_VALUES) values.delete(values.keys().next().value);
    values.set(strength, await networks.predict(model, seen, strength));
  }
  return values.get(strength);
}

let turn = Promise.resolve();
onmessage = ({ data: { id, kind, ...question } }) => {
  turn = turn.then(async () => {
    try {
      const answer = await answers[kind](question);
      const bitmaps = Object.values(answer ?? {}).filter((value) => value instanceof ImageBitmap);
      postMessage({ id, answer }, bitmaps);
    } catch (error) {
      postMessage({ id, problem: inWords(error) });
    }
  });
};

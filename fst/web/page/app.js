// What a person does, and what follows from it.

import { Camera, LagRule, Recording, chooseSize } from "./camera.js";
import { FORMATS, canShare, check, download, fetchPicture, fileIn } from "./files.js";
import { prepare } from "./offline.js";
import { STROKES, usualStrokes } from "./painting.js";
import { inWords } from "./problem.js";
import * as stage from "./stage.js";
import { byline, modelForPaintings, planOf, stylesOf } from "./styles.js";
import { Work, newest } from "./work.js";

const byId = (id) => document.getElementById(id);
const LIVE_PX = 480; // shorter side of what the camera's painting is drawn at

let site;
let styles = [];
let chosen; // a style
let name = ""; // of the photograph's file
let usual = 1; // size of its strokes, by itself
let ready = false; // whether there is a painting to save
let facing = "user";
let recording = null;
const camera = new Camera(stage.camera);
const work = new Work(say);

// Words and progress

function say({ text, share }) {
  byId("status").textContent = text;
  const progress = byId("progress");
  progress.hidden = false;
  if (share === null) progress.removeAttribute("value");
  else progress.value = share;
}

function done(text) {
  byId("status").textContent = text;
  byId("progress").hidden = true;
}

function complain(error) {
  done("");
  byId("problem").hidden = false;
  byId("problem").firstElementChild.textContent = inWords(error);
}

function forgive() {
  byId("problem").hidden = true;
}

/** A listener that tells what went wrong. */
const trying = (action) => async (event) => {
  forgive();
  try {
    await action(event);
  } catch (error) {
    complain(error);
  }
};

// What is asked for

const second = () => styles.find((style) => style.name === byId("second").value);
const titles = () => (wanted().style.parts?.length > 1 ? `${chosen.title} with ${second().title}` : chosen.title);
const shareOfFirst = () => 1 - byId("share").value / 100;

function strokes() {
  const factor = usual * 2 ** (byId("strokes").value / 2);
  return Math.min(STROKES[1], Math.max(STROKES[0], factor));
}

function wanted() {
  const style = planOf(site, chosen, second(), shareOfFirst()) ?? planOf(site, chosen);
  const most = style.trained ? 1.5 : 1;
  const strength = Math.min(most, byId("strength").value / 100);
  return { style, look: { strength, keepColours: byId("keep").checked, strokes: strokes() } };
}

function describe() {
  const { style, look } = wanted();
  byId("strength").max = style.trained ? 150 : 100;
  byId("strength-is").textContent = `${Math.round(100 * look.strength)} %`;
  const factor = look.strokes.toFixed(2).replace(/\.?0+$/, "");
  byId("strokes-are").textContent = byId("strokes").value === "0" ? `automatic (${factor})` : `× ${factor}`;
  const other = second();
  const apart = Boolean(other) && !planOf(site, chosen, other, 0.5);
  const percent = Math.round(100 * shareOfFirst());
  byId("share").disabled = !other;
  byId("share-of-first").textContent = other ? `${percent} %` : "";
  byId("share-of-second").textContent = other ? `${100 - percent} %` : "";
  byId("share").setAttribute("aria-valuetext", other ? `${percent} % ${chosen.title}, ${100 - percent} % ${other.title}` : "");
  for (const part of byId("share").parentElement.children) part.hidden = (part.id === "no-blend") !== apart;
  byId("no-blend").textContent = apart ? `No network here has both, so this is ${chosen.title} alone.` : "";
  for (const range of document.querySelectorAll(".control input[type=range]"))
    range.style.setProperty("--filled", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
}

function refresh() {
  describe();
  forgive();
  if (name && !camera.isOpen) show(wanted());
}

const show = newest(async (question, newer) => {
  try {
    const { bitmap, engine, seen, ms } = await work.ask("show", question);
    if (camera.isOpen || (newer() && !sameNetwork(newer(), question))) return bitmap.close();
    stage.showPainting(bitmap);
    ready = true;
    byId("save").disabled = byId("share-it").disabled = false;
    byId("engine").textContent = engine;
    done(`${titles()}, painted at ${seen.join(" × ")} in ${(ms / 1000).toFixed(1)} s`);
  } catch (error) {
    complain(error);
  }
});

const sameNetwork = (one, other) =>
  one.look.strokes === other.look.strokes && JSON.stringify(one.style) === JSON.stringify(other.style);

// Photographs

const titleOf = (file) => file.name.replace(/\.\w+$/, "").replaceAll("_", " ").trim();

async function take(file) {
  if (!file) return;
  leaveCamera();
  say({ text: "Opening the photograph", share: null });
  await check(file);
  const { width, height, bitmap } = await work.ask("photograph", { file });
  stage.showOriginal(bitmap);
  ready = false;
  name = titleOf(file) || "photograph";
  usual = usualStrokes(width, height);
  refresh();
}

async function file() {
  const { type, suffix, quality } = FORMATS[byId("format").value];
  const { blob } = await work.ask("save", { ...wanted(), type, quality });
  return new File([blob], `${name}, ${chosen.title}${suffix}`.replace(/[/\\:]/g, "-"), { type });
}

let toShare = null; // made for a tap that came too late
async function share() {
  const key = JSON.stringify([name, byId("format").value, wanted()]);
  const made = toShare?.key === key ? toShare.made : await file();
  toShare = { key, made };
  try {
    await navigator.share({ files: [made] });
    done("Shared");
  } catch (error) {
    if (error.name === "AbortError") done("Not shared");
    else if (error.name === "NotAllowedError") done("The picture is ready: tap Share once more"); // the tap was too long ago
    else throw error;
  }
}

// Styles

function addTile(style, picture) {
  const tile = document.createElement("label");
  tile.className = "tile";
  tile.title = [style.title, byline(style), style.note].filter(Boolean).join("\n");
  tile.innerHTML = '<input type="radio" name="style"><span class="picture"></span><span class="title"></span><span class="by"></span>';
  const [input, frame, title, by] = tile.children;
  input.value = style.name;
  frame.append(picture);
  title.textContent = style.title;
  by.textContent = byline(style);
  input.addEventListener("click", () => choose(style)); // the chosen one, too, after it failed to load
  byId("second").append(new Option(style.title, style.name));
  return tile;
}

function thumbnailOf(style) {
  const image = new Image(192, 192);
  image.src = style.thumbnail;
  image.alt = "";
  return image;
}

function choose(style) {
  chosen = style;
  const input = document.querySelector(`input[name=style][value="${CSS.escape(style.name)}"]`);
  input.checked = true;
  input.closest(".tile").scrollIntoView({ block: "nearest", inline: "nearest" });
  for (const option of byId("second").options) {
    const other = styles.find((each) => each.name === option.value);
    option.disabled = Boolean(other) && (other === style || !planOf(site, style, other, 0.5));
  }
  if (second() === style) byId("second").value = "";
  refresh();
}

async function takePainting(file) {
  if (!file) return;
  say({ text: "Opening the painting", share: null });
  await check(file);
  const number = styles.filter((style) => style.painting).length + 1;
  const style = { name: `painting ${number}`, title: titleOf(file) || `Painting ${number}`, artist: "your own", year: "", painting: true };
  const { thumbnail } = await work.ask("painting", { name: style.name, file, model: modelForPaintings(site).name });
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [thumbnail.width, thumbnail.height];
  picture.getContext("bitmaprenderer").transferFromImageBitmap(thumbnail);
  styles.push(style);
  byId("styles").prepend(addTile(style, picture));
  choose(style);
}

// Camera

async function openCamera() {
  say({ text: "Starting the camera", share: null });
  const several = await camera.open(facing);
  byId("camera").setAttribute("aria-pressed", "true");
  byId("live").hidden = byId("rate").hidden = false;
  byId("flip").hidden = !several;
  byId("record").hidden = !Recording.isPossible;
  byId("strokes").disabled = byId("save").disabled = byId("share-it").disabled = true;
  stage.showCamera(true, camera.mirrored);
  await paintFrames();
}

async function paintFrames() {
  const stream = stage.camera.srcObject;
  const isOn = () => stage.camera.srcObject === stream;
  const scale = Math.min(1, LIVE_PX / Math.min(...camera.size));
  const [width, height] = camera.size.map((length) => Math.round(length * scale));
  const short = Math.min(width, height);
  const times = [];
  const paint = async (size) => {
    const started = performance.now();
    if (!isOn()) return Infinity;
    const { style, look } = wanted();
    const question = { bitmap: camera.frame(width, height), style, look: { ...look, strokes: short / size } };
    const { bitmap, seen, engine } = await work.ask("frame", question);
    if (!isOn()) return Infinity;
    stage.showPainting(bitmap);
    const now = performance.now();
    times.push(now);
    while (now - times[0] > 1000) times.shift();
    byId("rate").textContent = `${times.length} fps · ${seen.join(" × ")}`;
    byId("engine").textContent = engine;
    return now - started;
  };
  const measure = async (size) => {
    await paint(size); // the first of a size takes longer
    return Math.min(await paint(size), await paint(size), await paint(size));
  };
  let size = await chooseSize(measure, short);
  if (isOn()) done(`${titles()}, live`);
  for (const lag = new LagRule(); isOn(); ) {
    size = lag.next(size, await paint(size), short);
    await new Promise(requestAnimationFrame);
  }
}

function leaveCamera() {
  if (!camera.isOpen && byId("live").hidden) return;
  stopRecording();
  camera.close();
  byId("camera").setAttribute("aria-pressed", "false");
  byId("live").hidden = byId("rate").hidden = true;
  byId("strokes").disabled = false;
  byId("save").disabled = byId("share-it").disabled = !ready;
  stage.showCamera(false);
}

async function stopRecording() {
  if (!recording) return;
  const finished = recording.stop();
  recording = null;
  byId("record").setAttribute("aria-pressed", "false");
  byId("record").setAttribute("aria-label", "Record");
  download(await finished);
}

function record() {
  if (recording) return stopRecording();
  recording = new Recording(stage.canvas);
  byId("record").setAttribute("aria-pressed", "true");
  byId("record").setAttribute("aria-label", "Stop recording");
}

/** Back to the photograph that was there before. */
function backToPhotograph() {
  leaveCamera();
  refresh();
}

// Wiring

function listen() {
  for (const id of ["strength", "strokes", "share", "keep", "second"]) byId(id).addEventListener("input", refresh);
  byId("problem").querySelector("button").addEventListener("click", forgive);
  const reading = (take) => trying(({ target }) => {
    const [file] = target.files;
    target.value = ""; // the same file may be chosen again
    return take(file);
  });
  byId("photograph").addEventListener("change", reading(take));
  byId("painting").addEventListener("change", reading(takePainting));
  addEventListener("paste", trying(({ clipboardData }) => take(fileIn(clipboardData))));
  const isFor = (id) => ({ target }) => byId(id).contains(target);
  const overPainting = isFor("panel");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
    byId("panel").classList.toggle("over", overPainting(event));
    byId("stage").classList.toggle("over", !overPainting(event));
  });
  const endDrag = () => document.body.classList.remove("dragging");
  addEventListener("dragleave", (event) => event.relatedTarget ?? endDrag());
  addEventListener("drop", trying((event) => {
    event.preventDefault();
    endDrag();
    return (overPainting(event) ? takePainting : take)(fileIn(event.dataTransfer));
  }));
  byId("save").addEventListener("click", trying(async () => {
    download(await file());
    done("Saved");
  }));
  byId("share-it").addEventListener("click", trying(share));
  byId("camera").addEventListener("click", trying(() => (camera.isOpen ? backToPhotograph() : openCamera().catch(leaveAnd))));
  byId("leave").addEventListener("click", backToPhotograph);
  byId("flip").addEventListener("click", trying(() => {
    facing = facing === "user" ? "environment" : "user";
    return openCamera().catch(leaveAnd);
  }));
  byId("still").addEventListener("click", trying(async () => take(await camera.still())));
  byId("record").addEventListener("click", trying(record));
  document.addEventListener("visibilitychange", () => document.hidden && camera.isOpen && backToPhotograph());
}

function leaveAnd(error) {
  backToPhotograph();
  throw error;
}

function offerExamples() {
  if (site.examples.length < 2) return;
  site.examples.forEach((address, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Example ${number + 1}`);
    const image = new Image();
    image.src = address;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", trying(async () => take(await fetchPicture(address))));
    byId("examples").append(button);
  });
}

async function open() {
  const answer = await fetch("site.json");
  site = await answer.json();
  await prepare(site.version);
  styles = stylesOf(site);
  byId("second").append(new Option("nothing", ""));
  byId("styles").append(...styles.map((style) => addTile(style, thumbnailOf(style))));
  document.querySelector(".add").hidden = !modelForPaintings(site);
  byId("share-it").hidden = !canShare("image/jpeg");
  offerExamples();
  listen();
  await work.ask("open", { site });
  const asked = new URLSearchParams(location.search);
  chosen = styles.find((style) => style.name === asked.get("style")) ?? styles[0];
  choose(chosen);
  await take(await fetchPicture(asked.get("picture") ?? site.examples[0]));
}

trying(open)();

// The stage: the original under the painting, and where one gives way to the other.

const byId = (id) => document.getElementById(id);
const [frame, before, after, video, compare] = ["frame", "before", "after", "video", "compare"].map(byId);
const SPLIT = 33; // where the first painting is parted from its original, in percent

export const canvas = after;
export const camera = video;

function move(percent) {
  compare.value = percent;
  frame.style.setProperty("--at", `${percent}%`);
  compare.setAttribute("aria-valuetext", `${Math.round(percent)} % original`);
}
compare.addEventListener("input", () => move(Number(compare.value)));

function draw(canvas, bitmap) {
  if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
  if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
}

function shape(width, height) {
  frame.style.setProperty("--ratio", width / height);
}

/** Shows a photograph; the painting of another one goes. */
export function showOriginal(bitmap) {
  shape(bitmap.width, bitmap.height);
  draw(before, bitmap);
  frame.classList.add("bare");
}

/** Shows a painting; the first one is unveiled. */
export function showPainting(bitmap) {
  draw(after, bitmap);
  frame.classList.remove("bare");
  if (!frame.classList.contains("unveiled")) {
    frame.classList.add("unveiled");
    move(SPLIT);
  }
}

/** Shows the camera's own picture as the original, or the photograph again. */
export function showCamera(on, mirrored = false) {
  video.hidden = !on;
  before.hidden = on;
  video.classList.toggle("mirrored", mirrored);
  frame.classList.add("bare");
  if (on) shape(video.videoWidth, video.videoHeight);
  else shape(before.width, before.height);
}

// The camera: its stream, its frames, a recording of what is painted.

import { Problem } from "./problem.js";

const WHY_NOT = {
  NotAllowedError: "Camera access is blocked: allow it for this page in the browser's address bar, then try again.",
  NotFoundError: "There is no camera on this device. Choose a photograph instead.",
  NotReadableError: "Another program is using the camera. Close that program, then try again.",
};
const RECORDED_AS = ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp9", "video/webm"];

export class Camera {
  #video;
  #stream = null;
  #grab = new OffscreenCanvas(1, 1).getContext("2d");

  constructor(video) {
    this.#video = video;
  }

  get isOpen() {
    return this.#stream !== null;
  }

  get size() {
    return [this.#video.videoWidth, this.#video.videoHeight];
  }

  /** Opens the camera that faces the `user` or the `environment`; returns whether there are more. */
  async open(facing) {
    if (!navigator.mediaDevices) throw new Problem("Browsers allow camera access only to pages on https:// or localhost. Choose a photograph instead.");
    this.close();
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } },
      });
    } catch (error) {
      throw new Problem(WHY_NOT[error.name] ?? `The camera did not start (${error.message}). Try again, or choose a photograph.`);
    }
    const [track] = this.#stream.getVideoTracks();
    this.mirrored = track.getSettings().facingMode !== "environment";
    track.onended = () => this.close();
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    return cameras.length > 1;
  }

  /** What the camera sees, mirrored as in a mirror, at this width and height. */
  frame(width, height) {
    const { canvas } = this.#grab;
    [canvas.width, canvas.height] = [width, height];
    if (this.mirrored) this.#grab.setTransform(-1, 0, 0, 1, width, 0);
    this.#grab.drawImage(this.#video, 0, 0, width, height);
    return canvas.transferToImageBitmap();
  }

  /** The camera's picture in full, as a file. */
  async still() {
    const [width, height] = this.size;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(this.frame(width, height));
    return new File([await canvas.convertToBlob()], "camera.png", { type: "image/png" });
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }
}

/** Records a canvas; `stop` resolves to the file. */
export class Recording {
  #recorder;
  #parts = [];

  static get isPossible() {
    return Boolean(window.MediaRecorder && HTMLCanvasElement.prototype.captureStream && Recording.type);
  }

  static get type() {
    return RECORDED_AS.find((type) => MediaRecorder.isTypeSupported(type));
  }

  constructor(canvas) {
    this.#recorder = new MediaRecorder(canvas.captureStream(), { mimeType: Recording.type, videoBitsPerSecond: 6_000_000 });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#recorder.start(1000);
  }

  stop() {
    const type = this.#recorder.mimeType.split(";")[0];
    return new Promise((resolve) => {
      this.#recorder.onstop = () => resolve(new File(this.#parts, `fst.${type.split("/")[1]}`, { type }));
      this.#recorder.stop();
    });
  }
}

/** Frames a second for which the working size is chosen: below, movement falls apart. */
const RATE = 15;
const HEADROOM = 0.85; // of a frame's time; the rest is for drawing
const SMALLEST_PX = 96;
const LAG_MS = 5000;

const median = (values) => [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)];

function fitting(size, ms, largest) {
  const most = size * Math.sqrt((HEADROOM * 1000) / RATE / ms); // every pixel costs the same
  return Math.max(Math.min(SMALLEST_PX, largest), Math.floor(Math.min(most, largest) / 8) * 8);
}

/** The largest working size found to reach the rate; `msAt(size)` measures (fst/webcam/working_size.py). */
export async function chooseSize(msAt, largest) {
  let size = Math.min(SMALLEST_PX, largest);
  let ms = await msAt(size);
  let best = size;
  for (let trial = 0; trial < 6; trial++) {
    const wanted = fitting(size, ms, largest);
    if (wanted === size || wanted === best) break;
    size = wanted;
    ms = await msAt(size);
    if (ms <= (HEADROOM * 1000) / RATE) best = Math.max(best, size);
  }
  return best;
}

/** Decides that a size is too large after five seconds below the rate. */
export class LagRule {
  #times = [];

  /** The size for the next frame, after one that took `ms`. */
  next(size, ms, largest) {
    this.#times.push(ms);
    if (this.#times.reduce((sum, each) => sum + each, 0) < LAG_MS) return size;
    const typical = median(this.#times);
    this.#times = [];
    return typical > 1000 / RATE ? Math.min(size, fitting(size, typical, largest)) : size;
  }
}

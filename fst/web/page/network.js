// The networks, run by onnxruntime-web: by WebGPU where that works, otherwise by WebAssembly.

import { Problem } from "./problem.js";

const KEPT = 3; // sessions: a phone holds no ten networks
// A function that returns a vector: whether the browser has WebAssembly's SIMD.
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

export class Networks {
  #site;
  #say;
  #ort;
  #kind;
  #sessions = new Map();
  #values = new Map();

  /** `say({ text, share })` is called while files load. */
  constructor(site, say) {
    this.#site = site;
    this.#say = say;
  }

  /** What runs the networks, in words. */
  get engine() {
    if (this.#kind === "webgpu") return "WebGPU";
    const threads = this.#ort?.env.wasm.numThreads;
    return threads > 1 ? `WebAssembly, ${threads} threads` : "WebAssembly";
  }

  model(name) {
    return this.#site.models.find((model) => model.name === name);
  }

  /** Runs a network on planes (3, height, width); `values` where it has several styles. */
  async stylize(name, { planes, width, height }, values) {
    const feeds = () => {
      const { Tensor } = this.#ort;
      const image = new Tensor("float32", planes, [1, 3, height, width]);
      return values ? { image, values: new Tensor("float32", values, [1, values.length]) } : { image };
    };
    const model = this.model(name);
    for (;;)
      try {
        const session = await this.#session(model.file, model.title);
        const { stylized } = await session.run(feeds());
        return stylized.data;
      } catch (error) {
        if (error instanceof Problem) throw error;
        if (this.#kind === "webgpu") await this.#fallBack(error);
        else throw new Problem(`The network could not paint this picture (${error.message ?? error}). Larger strokes need less memory.`);
      }
  }

  /** The values of a style of a network that has several. */
  async row(name, number) {
    const model = this.model(name);
    if (!this.#values.has(name)) this.#values.set(name, new Float32Array(await this.#fetch(model.values, model.title)));
    return this.#values.get(name).subarray(number * model.size, (number + 1) * model.size);
  }

  /** The values that a network's predictor finds for a painting. */
  async predict(name, { planes, width, height }, strength) {
    const session = await this.#session(this.model(name).painting, "the network that reads paintings", ["wasm"]);
    const { Tensor } = this.#ort;
    const { values } = await session.run({
      painting: new Tensor("float32", planes, [1, 3, height, width]),
      strength: new Tensor("float32", [strength], [1]),
    });
    return values.data;
  }

  async #session(file, title, providers) {
    const found = this.#sessions.get(file);
    this.#sessions.delete(file); // the one that was used last is the last to go
    const session = found ?? (await this.#create(file, title, providers));
    this.#sessions.set(file, session);
    for (const [oldest, unused] of this.#sessions) {
      if (this.#sessions.size <= KEPT) break;
      this.#sessions.delete(oldest);
      await unused.release();
    }
    return session;
  }

  async #create(file, title, providers) {
    await this.#start();
    const bytes = await this.#fetch(file, title);
    this.#say({ text: `Preparing ${title}`, share: null });
    return this.#ort.InferenceSession.create(bytes, { executionProviders: providers ?? [this.#kind] });
  }

  async #start() {
    if (this.#ort) return;
    if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD))
      throw new Problem("This browser lacks WebAssembly with SIMD, which the networks need. Any current Chrome, Edge, Firefox or Safari has it.");
    this.#kind ??= (await navigator.gpu?.requestAdapter().catch(() => null)) ? "webgpu" : "wasm";
    try {
      await this.#load();
    } catch (error) {
      if (error instanceof Problem || this.#kind === "wasm") throw error;
      this.#kind = "wasm";
      await this.#load();
    }
  }

  async #load() {
    const { files, ort } = this.#site;
    // Of the two builds, only that for WebAssembly alone has a plain name.
    const plain = this.#kind === "wasm";
    const wasm = Object.keys(files).find((name) => /^ort\/.*\.wasm$/.test(name) && !/jspi|jsep|asyncify/.test(name) === plain);
    const binary = await this.#fetch(wasm, "the engine");
    const module = await import(new URL(ort[this.#kind], import.meta.url)).catch(() => {
      throw new Problem("The engine could not be loaded. Check the connection and try again.");
    });
    module.env.wasm.wasmBinary = binary;
    module.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
    module.env.logLevel = "error";
    this.#ort = module;
  }

  async #fallBack(error) {
    console.warn("WebGPU failed, WebAssembly takes over:", error);
    this.#sessions.clear(); // a lost device cannot release them
    this.#kind = "wasm";
    this.#ort = undefined;
    await this.#start();
  }

  async #fetch(file, title) {
    let answer;
    try {
      answer = await fetch(new URL(file, import.meta.url));
    } catch {
      throw new Problem(`There is no connection, and ${title} has not been downloaded yet. Connect, then choose the style again.`);
    }
    if (!answer.ok) throw new Problem(`The server has no ${file} (${answer.status}). Reload the page.`);
    const bytes = new Uint8Array(this.#site.files[file]);
    const reader = answer.body.getReader();
    for (let at = 0; ; ) {
      const { done, value } = await reader.read().catch(() => {
        throw new Problem(`The connection was lost while ${title} was loading. Choose the style again.`);
      });
      if (done) return bytes.buffer;
      if (at + value.length > bytes.length) throw new Problem("The site has changed meanwhile. Reload the page.");
      bytes.set(value, at);
      at += value.length;
      this.#say({ text: `Loading ${title}`, share: at / bytes.length });
    }
  }
}

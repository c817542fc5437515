// The page's side of the worker.

import { Problem } from "./problem.js";

export class Work {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #last = 0;

  /** `say({ text, share })` is called while something loads or runs; a share of null is unknown. */
  constructor(say) {
    this.#worker.onmessage = ({ data: { id, answer, problem, progress } }) => {
      if (progress) return say(progress);
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (problem) reject(new Problem(problem));
      else resolve(answer);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.#waiting.values())
        reject(new Problem("The part of the page that paints has stopped, perhaps for lack of memory. Reload the page."));
      this.#waiting.clear();
    };
  }

  /** Resolves to the worker's answer; bitmaps in the question are handed over, not copied. */
  ask(kind, question = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      const bitmaps = Object.values(question).filter((value) => value instanceof ImageBitmap);
      this.#worker.postMessage({ id, kind, ...question }, bitmaps);
    });
  }
}

/**
 * A function that does one thing at a time: of what is asked meanwhile, only the newest counts.
 * `work(question, newer)` may look at what is asked next, if anything is.
 */
export function newest(work) {
  let busy = false;
  let next = null;
  return async (question) => {
    next = { question };
    if (busy) return;
    busy = true;
    while (next) {
      const { question: now } = next;
      next = null;
      await work(now, () => next?.question);
    }
    busy = false;
  };
}

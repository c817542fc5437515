/** An error whose message tells a person what happened and what to do. */
export class Problem extends Error {
  name = "Problem";
}

/** What to tell a person about any error. */
export function inWords(error) {
  if (error?.name === "Problem") return error.message;
  if (error instanceof RangeError) return "There is not enough memory for this. Use a smaller photograph, or larger strokes.";
  console.error(error);
  return `Something went wrong (${error?.message ?? error}). Reload the page.`;
}

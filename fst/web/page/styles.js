// Which styles there are, and which network paints one or a blend of two.

/**
 * The styles of a site, each name once: `model` paints it alone. A style that has a network of its
 * own is not shown again for a network of several.
 */
export function stylesOf({ models }) {
  const alone = models.filter((model) => !model.styles);
  const styles = new Map(alone.map((model) => [model.name, { ...model, model: model.name }]));
  for (const model of severalIn(models))
    model.styles.forEach((style) => {
      if (!styles.has(style.name)) styles.set(style.name, { rights: model.rights, licence: model.licence, ...style, model: model.name });
    });
  return [...styles.values()];
}

/** The network for paintings of one's own, if the site has one. */
export const modelForPaintings = ({ models }) => models.find((model) => model.painting);

/** What the worker is to run for a style, or for `share` of it and the rest of another; or null. */
export function planOf({ models }, first, second, share) {
  if (!second && !first.painting && models.some((model) => model.name === first.model && !model.styles)) return { model: first.model };
  const chosen = second ? [[first, share], [second, 1 - share]] : [[first, 1]];
  const model = severalIn(models).find((each) => chosen.every(([style]) => partOf(each, style)));
  if (!model) return null;
  return {
    model: model.name,
    parts: chosen.map(([style, part]) => ({ ...partOf(model, style), share: part })),
    // The strength of named styles is not an input: only their values at 1 are in the site.
    trained: chosen.every(([style]) => style.painting),
  };
}

/** Networks of several styles; those that read paintings come last, as they paint named ones less well. */
const severalIn = (models) =>
  models.filter((model) => model.styles).sort((one, other) => Boolean(one.painting) - Boolean(other.painting));

function partOf(model, style) {
  if (style.painting) return model.painting && { painting: style.name };
  const row = model.styles.findIndex(({ name }) => name === style.name);
  return row < 0 ? null : { row };
}

/** The line below a title: who and when, as far as it is known. */
export const byline = ({ artist, year }) => [artist, year].filter(Boolean).join(", ");

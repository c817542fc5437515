// Pictures that come in, and pictures that go out.

import { Problem } from "./problem.js";

const MOST_PX = 50_000_000;
const QUALITY = 0.95; // as `fst stylize` has it

/** Refuses what the browser cannot read or hold, in words, before all of it is decoded. */
export async function check(file) {
  const image = new Image();
  const url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = url;
    });
  } catch {
    throw new Problem(unreadable(file));
  } finally {
    URL.revokeObjectURL(url);
  }
  const pixels = image.naturalWidth * image.naturalHeight;
  if (pixels > MOST_PX)
    throw new Problem(
      `${nameOf(file)} has ${Math.ceil(pixels / 1e6)} megapixels; this page takes up to ${MOST_PX / 1e6}. Make it smaller, or use fst stylize on a computer.`,
    );
}

const nameOf = (file) => file.name || "This picture";

function unreadable(file) {
  if (/hei[cf]/i.test(`${file.type} ${file.name}`))
    return `This browser cannot read HEIC photographs such as ${nameOf(file)}. Save it as JPEG first; on an iPhone, Settings > Camera > Formats > Most Compatible takes JPEG.`;
  if (file.type && !file.type.startsWith("image/")) return `${nameOf(file)} is not a picture. Choose a JPEG, PNG, WebP or AVIF file.`;
  return `${nameOf(file)} cannot be read: it is damaged, or in a format that this browser does not support. Choose a JPEG, PNG or WebP file.`;
}

/** A picture at an address of this site: others would learn what is looked at here. */
export async function fetchPicture(address) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin) throw new Problem(`Only pictures on this site can be opened by address, not ${url.href}. Save that picture, then drop the file here.`);
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Problem(`There is no picture at ${url.pathname}. Choose or drop one.`);
  return new File([await answer.blob()], decodeURIComponent(url.pathname.split("/").pop()));
}

/** The picture that a drop or a paste brings, if it brings one. */
export const fileIn = (transfer) => transfer?.files[0];

export const FORMATS = {
  jpeg: { type: "image/jpeg", suffix: ".jpg", quality: QUALITY },
  png: { type: "image/png", suffix: ".png" },
};

export function download(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers read it late
}

export const canShare = (type) =>
  Boolean(navigator.canShare?.({ files: [new File([new Uint8Array(1)], "picture", { type })] }));

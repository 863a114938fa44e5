// Images whose top answer is another than the original's, as small pictures with both answers.

import { encodePng, resizePixels } from "#platform";
import type { Pixels } from "../data/dataset.ts";
import { percent, plural, printable } from "./format.ts";
import type { ChangedAnswers, ChangedImage } from "./html-details.ts";
import { escaped, quoted } from "./page.ts";

/** Pixels of the longer side of a picture in the file at most; smaller ones are shown as large, pixel by pixel. */
const LARGEST = 128;

export function changedText({ compared, changed, lost, won }: ChangedAnswers): string {
  if (changed === 0) return `All of ${plural(compared, "image")} get the same top answer as before.`;
  const share = `${changed} of ${plural(compared, "image")} (${percent(changed / compared)}) get another top answer than before`;
  if (lost === null || won === null) return `${share}.`;
  const neither = changed - lost - won;
  const rest = neither === 0 ? "" : `, ${neither} wrong before and now`;
  return `${share}: ${lost} right before and wrong now, ${won} wrong before and right now${rest}.`;
}

/** @returns "" where there are none */
export async function changedHtml({ examples }: ChangedAnswers): Promise<string> {
  if (examples.length === 0) return "";
  const cards = await Promise.all(examples.map(cardHtml));
  return `<div class="cards">\n${cards.join("\n")}\n</div>`;
}

async function cardHtml(image: ChangedImage): Promise<string> {
  const { name, before, after, label } = image;
  const source = await encodePng(await thumbnail(image.pixels));
  const answer = (text: string) => {
    const right = label !== null && text === label;
    return `<b class="${label === null ? "" : right ? "right" : "wrong"}">${escaped(printable(text))}</b>`;
  };
  const truth = label === null || label === before || label === after ? "" : `<br>truth: ${escaped(printable(label))}`;
  const alt = quoted(printable(name));
  return (
    `<figure><img src="${source}" alt="${alt}" title="${alt}">` +
    `<figcaption>${answer(before)} → ${answer(after)}${truth}</figcaption></figure>`
  );
}

async function thumbnail(pixels: Pixels): Promise<Pixels> {
  const scale = LARGEST / Math.max(pixels.width, pixels.height);
  if (scale >= 1) return pixels;
  const [width, height] = [pixels.width, pixels.height].map((size) => Math.max(1, Math.round(scale * size)));
  return resizePixels(pixels, { width: width!, height: height!, channels: pixels.channels, fit: "stretch" });
}

// The frame of page.ts around parts that it has no kind for: each section's body is put in after what the page itself says there, and
// the styles of these bodies after the page's own.

import { escaped, htmlPage, type Page } from "./page.ts";

/**
 * @param bodies HTML by the sections' ids, put in as it is
 * @param styles CSS, put in as it is
 */
export function framed(page: Page, bodies: ReadonlyMap<string, string>, styles: string): string {
  let html = inserted(htmlPage(page), "<style>", "</style>", styles);
  for (const [id, body] of bodies) html = inserted(html, `<section id="${id}">`, "</section>", `${body}\n`);
  return html;
}

/** Puts text before the first `before` that follows `after`; both are there, since page.ts writes them. */
function inserted(html: string, after: string, before: string, text: string): string {
  const at = html.indexOf(before, html.indexOf(after));
  return html.slice(0, at) + text + html.slice(at);
}

/** Text for between quotation marks. */
export const quoted = (text: string): string => escaped(text).replaceAll('"', "&quot;");

/** Names and what they are, in pairs; those without a value are left out. */
export function pairsHtml(pairs: readonly (readonly [name: string, value: string | null])[]): string {
  const rows = pairs.flatMap(([name, value]) =>
    value === null ? [] : [`<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`],
  );
  return `<dl class="pairs">${rows.join("")}</dl>`;
}

import { escaped } from "./page.ts";

/** Names and what they are, in pairs; those without a value are left out. */
export function pairsHtml(pairs: readonly (readonly [name: string, value: string | null])[]): string {
  const rows = pairs.flatMap(([name, value]) =>
    value === null ? [] : [`<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`],
  );
  return `<dl class="pairs">${rows.join("")}</dl>`;
}

// How wide the network was and is: every group of channels as a line with a bar before and after.

import { plural, printable, shortName } from "./format.ts";
import { escaped, quoted } from "./page.ts";
import type { SlimReport } from "./report.ts";

/** The lines of all groups under one heading. */
export function channelsHtml(groups: readonly SlimReport[]): string {
  const most = Math.max(1, ...groups.map(({ before }) => before));
  const head = ["made by", "read by", "channels"].map((title) => `<span>${title}</span>`).join("");
  const lines = groups.map((group) => lineHtml(group, most));
  return `<div class="layers channels">\n<div class="line head">${head}</div>\n${lines.join("\n")}\n</div>`;
}

function lineHtml({ makers, readers, before, after, reason }: SlimReport, most: number): string {
  const share = (value: number) => `${((100 * value) / most).toFixed(1)}%`;
  const bar = `<span class="bar" aria-hidden="true"><i style="width:${share(before)}"></i><i style="width:${share(after)}"></i></span>`;
  const text = reason === null ? `${before} → ${after}` : `${before} <i>${escaped(printable(reason))}</i>`;
  const cells = [`<b>${named(makers)}</b>`, named(readers), `${bar}${text}`].map((cell) => `<span>${cell}</span>`);
  return `<div class="layer ${reason === null ? "replaced" : "left"}"><div class="line">${cells.join("")}</div></div>`;
}

/** The first name, and how many more there are. */
function named(names: readonly string[]): string {
  const [first] = names;
  if (first === undefined) return "none";
  const more = names.length === 1 ? "" : ` and ${plural(names.length - 1, "other")}`;
  return `<span title="${quoted(printable(names.join(", ")))}">${escaped(shortName(first, 24))}${more}</span>`;
}

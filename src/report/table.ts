// Tables as people read them in a terminal; apart from format.ts, since what draws them is not for browsers.

import Table from "cli-table3";
import type { Ink } from "./format.ts";

/** A cell's text, or one text over several columns. */
export type Cell = string | { readonly content: string; readonly colSpan: number };

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

const BARE = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "" },
  middle: "  ",
};

/** A table without lines: a heading, then rows in aligned columns. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[], ink: Ink): string {
  const drawn = new Table({
    chars: BARE,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
    head: columns.map(({ title }) => ink.dim(title)),
    colAligns: columns.map(({ align = "left" }) => align),
  });
  const cell = (one: Cell) => (typeof one === "string" ? one : { ...one, hAlign: "left" as const });
  for (const row of rows) drawn.push(row.map(cell));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

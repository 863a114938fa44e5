// What is to be told of DATA besides what was measured on it.

import { type Dataset, someOf } from "../data/dataset.ts";
import type { Model } from "../graph/model.ts";
import { plural } from "../report/format.ts";

/** One sentence each: what was passed over, and labels that may mean other classes than the model's. */
export function dataNotes({ ignored, classes }: Dataset, { graph }: Model): string[] {
  const notes: string[] = [];
  if (ignored.length > 0) notes.push(`not used of DATA, being no images: ${someOf(ignored)}`);
  const [, scores] = graph.outputs[0]?.shape ?? [];
  if (classes !== null && typeof scores === "number" && scores !== classes.length) {
    const order = "folders are numbered in the order of their names, which may not be the model's";
    notes.push(`DATA has ${plural(classes.length, "class folder")}, the model ${scores} classes: ${order}`);
  }
  return notes;
}

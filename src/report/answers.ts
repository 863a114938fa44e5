// What became of the answers, in the words of their kind.

import { interval, percent, plural } from "./format.ts";
import type { AnswersReport, HeadReport } from "./report.ts";

interface Words {
  /** What stands in front of the line. */
  readonly label: string;
  /** After "96.8% of": what was compared. */
  readonly what: (head: HeadReport) => string;
}

const WORDS: Readonly<Record<string, Words>> = {
  classes: { label: "agreement", what: ({ count }) => `the same answer for {} of ${plural(count, "image")}` },
  boxes: {
    label: "detections",
    what: ({ count }) => `{} of the original's ${count} found again (IoU 0.5, same class)`,
  },
  "class-map": { label: "pixels", what: ({ count }) => `{} of the same class, mean of ${plural(count, "image")}` },
  mask: { label: "mask", what: ({ count }) => `overlaps by {} (IoU at 0.5), mean of ${plural(count, "mask")}` },
  text: { label: "text", what: ({ count }) => `{} of ${plural(count, "text")} read the same` },
  embedding: {
    label: "embedding",
    what: ({ count }) => `the same nearest neighbour for {} of ${plural(count, "image")}`,
  },
  values: { label: "values", what: ({ count }) => `{} of their variance kept, mean of ${plural(count, "image")}` },
};

/** A line for each head: its label, and what was kept with its interval. */
export function headLines({ heads }: AnswersReport): readonly (readonly [label: string, text: string])[] {
  return heads.map((head) => {
    const { label, what } = WORDS[head.kind]!;
    const from = heads.length > 1 ? `${head.outputs.join(", ")}: ` : "";
    return [label, `${from}${headText(head, what(head))}`];
  });
}

function headText(head: HeadReport, text: string): string {
  if (head.share === null) return `none in these images: nothing could be compared (${head.description})`;
  // Of detections what is told is the share of the original's own; new ones are counted beside it.
  const again = head.lost === null ? head.share : head.count === 0 ? null : (head.count - head.lost) / head.count;
  const told = text.replace("{}", again === null ? "none" : percent(again));
  const added = head.added === null ? "" : `, ${head.added} new ${head.added === 1 ? "one" : "ones"}`;
  const kept = head.lost === null ? "" : `; kept of both ${percent(head.share)}`;
  const range = head.ci95 === null ? "" : ` (${interval(head.ci95, percent)})`;
  return `${told}${added}${kept}${range}`;
}

/** What a drop is of: "top-1", "a score of your own", "detections". */
export function dropOfWhat(answers: AnswersReport | null, labelled: boolean): string {
  if (answers?.custom) return "your score";
  if (labelled) return "top-1";
  return WORDS[answers?.kind ?? "classes"]!.label;
}

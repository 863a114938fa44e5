// A compression as one HTML file for people: what was gained and lost, the networks that were tried, every layer, images that are
// answered otherwise, and how to do it again. Nothing is fetched, nothing is executed. ECharts is loaded when this is called.

import { formatPlan, type Plan } from "../search/plan.ts";
import { plural, printable } from "./format.ts";
import { changedHtml, changedText } from "./html-changed.ts";
import type { CompressDetails } from "./html-details.ts";
import { framed, pairsHtml } from "./html-frame.ts";
import { factsOf, goalsText, storyOf } from "./html-head.ts";
import { layersHtml } from "./html-layers.ts";
import { REPORT_STYLES } from "./html-styles.ts";
import { trialsFigure } from "./html-trials.ts";
import { escaped, type PageSection } from "./page.ts";
import type { CompressReport } from "./report.ts";

/** The part of what `compress` gives that the page shows. */
export interface Reportable {
  readonly plan: Plan;
  readonly report: CompressReport;
  readonly details: CompressDetails;
}

/** What only the caller knows. */
export interface ReportOptions {
  /** The command line that did it. */
  readonly command?: string;
  /** Of lowrank. */
  readonly version?: string;
  readonly machine?: string;
}

interface Section extends PageSection {
  readonly body: string;
}

/** @returns the page, to be written as UTF-8 */
export async function reportHtml(compressed: Reportable, options: ReportOptions = {}): Promise<string> {
  const { report } = compressed;
  const sections: Section[] = [
    ...(await triedSection(report)),
    await layersSection(compressed),
    ...(await answersSection(compressed.details)),
    repeatSection(compressed, options),
    ...notesSection(report),
  ];
  const { batch, threads } = report.latency;
  const how = `batch ${batch}, ${threads === null ? "threads as ONNX Runtime chooses" : plural(threads, "thread")}`;
  const files = [report.input, report.output].filter((name) => name !== null && name !== "").map(fileName);
  const page = {
    title: `${fileName(report.input) || "A network"}, compressed`,
    subtitle: [files.length < 2 ? [] : [files.join(" → ")], goalsText(report.promise), how].flat().join(" · "),
    facts: factsOf(report),
    paragraphs: storyOf(report),
    sections,
    footer: [
      `Made by lowrank${options.version === undefined ? "" : ` ${options.version}`}. Every number is of the file that was written, read back.`,
    ],
  };
  return framed(page, new Map(sections.map(({ id, body }) => [id, body])), REPORT_STYLES);
}

const fileName = (path: string | null): string => printable(path?.split(/[/\\]/).at(-1) ?? "");

async function triedSection(report: CompressReport): Promise<readonly Section[]> {
  const figure = await trialsFigure(report);
  if (figure === null) return [];
  return [{ id: "tried", title: "Networks tried", paragraphs: [], parts: [figure], body: "" }];
}

async function layersSection({ report, details }: Reportable): Promise<Section> {
  const paragraphs = [
    "Grey bars are a layer's MACs as they were, coloured ones as they are; times are of the layer alone. " +
      "A layer opens to what stands in its place and to the candidates that it was chosen from.",
  ];
  const body = await layersHtml(report.layers, details.layers);
  return { id: "layers", title: "Layers", paragraphs, parts: [], body };
}

async function answersSection({ changed }: CompressDetails): Promise<readonly Section[]> {
  if (changed === null) return [];
  const paragraphs = [changedText(changed)];
  return [{ id: "answers", title: "Answers that changed", paragraphs, parts: [], body: await changedHtml(changed) }];
}

function repeatSection({ plan, report }: Reportable, { command, version, machine }: ReportOptions): Section {
  const { latency, seed } = report;
  const pairs = pairsHtml([
    ["seed", String(seed)],
    ["lowrank", version ?? null],
    ["threads", latency.threads === null ? "as ONNX Runtime chooses" : String(latency.threads)],
    ["batch", String(latency.batch)],
    ["machine", machine ?? null],
  ]);
  const run = command === undefined ? "" : `<pre class="command"><code>${escaped(command)}</code></pre>\n`;
  const text = escaped(formatPlan(plan));
  const folded = `<details><summary><b>The plan.</b> What became of each layer; --plan carries it out again</summary><pre><code>${text}</code></pre></details>`;
  return { id: "repeat", title: "How to repeat it", paragraphs: [], parts: [], body: `${run}${pairs}\n${folded}` };
}

function notesSection({ notes }: CompressReport): readonly Section[] {
  if (notes.length === 0) return [];
  const items = notes.map((note) => `<li>${escaped(printable(note))}</li>`).join("\n");
  return [{ id: "notes", title: "Notes", paragraphs: [], parts: [], body: `<ul>\n${items}\n</ul>` }];
}

// A compression as one HTML file for people: what was gained and lost, the networks that were tried, every layer, images that are
// answered otherwise, and how to do it again. Nothing is fetched, nothing is executed. ECharts is loaded when this is called.

import { formatPlan, type Plan } from "../search/plan.ts";
import { plural, printable, timeSpent } from "./format.ts";
import { changedHtml, changedText } from "./html-changed.ts";
import { channelsHtml } from "./html-channels.ts";
import type { CompressDetails } from "./html-details.ts";
import { factsOf, goalsText, storyOf } from "./html-head.ts";
import { layersHtml } from "./html-layers.ts";
import { pairsHtml } from "./html-pairs.ts";
import { REPORT_STYLES } from "./html-styles.ts";
import { trialsFigure } from "./html-trials.ts";
import { escaped, htmlPage, type PageHtml, type PageSection } from "./page.ts";
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

/** @returns the page, to be written as UTF-8 */
export async function reportHtml(compressed: Reportable, options: ReportOptions = {}): Promise<string> {
  const { report } = compressed;
  const sections: PageSection[] = [
    ...(await triedSection(report)),
    await layersSection(compressed),
    ...channelsSection(report),
    ...(await answersSection(compressed.details)),
    repeatSection(compressed, options),
    ...notesSection(report),
  ];
  const { batch, threads } = report.latency;
  const how = `batch ${batch}, ${threads === null ? "threads as ONNX Runtime chooses" : plural(threads, "thread")}`;
  const files = [report.input, report.output].filter((name) => name !== null && name !== "").map(fileName);
  return htmlPage({
    title: `${fileName(report.input) || "A network"}, compressed`,
    subtitle: [files.length < 2 ? [] : [files.join(" → ")], goalsText(report.promise), how].flat().join(" · "),
    facts: factsOf(report),
    paragraphs: storyOf(report),
    sections,
    footer: [
      `Made by lowrank${options.version === undefined ? "" : ` ${options.version}`}. Every number is of the file that was written, read back.`,
    ],
    styles: REPORT_STYLES,
  });
}

const html = (text: string): PageHtml => ({ kind: "html", html: text });

const fileName = (path: string | null): string => printable(path?.split(/[/\\]/).at(-1) ?? "");

async function triedSection(report: CompressReport): Promise<readonly PageSection[]> {
  const figure = await trialsFigure(report);
  if (figure === null) return [];
  return [{ id: "tried", title: "Networks tried", paragraphs: [], parts: [figure] }];
}

async function layersSection({ report, details }: Reportable): Promise<PageSection> {
  const paragraphs = [
    "Grey bars are a layer's MACs as they were, coloured ones as they are; times are of the layer alone. " +
      "A layer opens to what stands in its place and to the candidates that it was chosen from.",
  ];
  const body = await layersHtml(report.layers, details.layers);
  return { id: "layers", title: "Layers", paragraphs, parts: [html(body)] };
}

function channelsSection({ slim }: CompressReport): readonly PageSection[] {
  if (slim.length === 0) return [];
  const narrowed = slim.filter(({ reason }) => reason === null).length;
  const paragraphs = [
    `${narrowed} of ${plural(slim.length, "group")} of channels are narrower than they were: what their layers make less of, the layers that read it make up for.`,
  ];
  return [{ id: "channels", title: "Channels", paragraphs, parts: [html(channelsHtml(slim))] }];
}

async function answersSection({ changed }: CompressDetails): Promise<readonly PageSection[]> {
  if (changed === null) return [];
  const paragraphs = [changedText(changed)];
  return [{ id: "answers", title: "Answers that changed", paragraphs, parts: [html(await changedHtml(changed))] }];
}

function repeatSection({ plan, report }: Reportable, { command, version, machine }: ReportOptions): PageSection {
  const { latency, seed } = report;
  const pairs = pairsHtml([
    ["seed", String(seed)],
    ["lowrank", version ?? null],
    ["threads", latency.threads === null ? "as ONNX Runtime chooses" : String(latency.threads)],
    ["batch", String(latency.batch)],
    ["machine", machine ?? null],
    ["time", timeSpent(report.secondsTotal, report.seconds)],
  ]);
  const run = command === undefined ? "" : `<pre class="command"><code>${escaped(command)}</code></pre>\n`;
  const text = escaped(formatPlan(plan));
  const folded = `<details><summary><b>The plan.</b> What became of each layer; --plan carries it out again</summary><pre><code>${text}</code></pre></details>`;
  return { id: "repeat", title: "How to repeat it", paragraphs: [], parts: [html(`${run}${pairs}\n${folded}`)] };
}

function notesSection({ notes }: CompressReport): readonly PageSection[] {
  if (notes.length === 0) return [];
  const items = notes.map((note) => `<li>${escaped(printable(note))}</li>`).join("\n");
  return [{ id: "notes", title: "Notes", paragraphs: [], parts: [html(`<ul>\n${items}\n</ul>`)] }];
}

// Every layer as a line with its cost before and after, which opens to what stands in its place and to the candidates it was chosen
// from. What was left alone says why.

import { METHODS } from "../approximate/methods.ts";
import { count, digits, plural, printable, shortName } from "./format.ts";
import { candidatesSvg } from "./html-candidates.ts";
import type { LayerDetails } from "./html-details.ts";
import { pairsHtml } from "./html-pairs.ts";
import { escaped, quoted } from "./page.ts";
import type { LayerReport } from "./report.ts";
import { stagesSvg } from "./stages-svg.ts";

/** The lines of all layers under one heading. */
export async function layersHtml(reports: readonly LayerReport[], details: readonly LayerDetails[]): Promise<string> {
  const most = Math.max(1, ...reports.map(({ macsBefore }) => macsBefore));
  const known = new Map(details.map((one) => [one.name, one]));
  const parts: string[] = [];
  for (const [index, report] of reports.entries()) {
    const own = known.get(report.name) ?? { name: report.name, ms: null, candidates: [], stages: null };
    parts.push(await layerHtml(report, own, most, index));
  }
  const titles = ["layer", "F×C×X×Y", "MACs", "ms for a batch", "what became of it"];
  const head = titles.map((title) => `<span>${title}</span>`).join("");
  return `<div class="layers">\n<div class="line head">${head}</div>\n${parts.join("\n")}\n</div>`;
}

async function layerHtml(report: LayerReport, details: LayerDetails, most: number, index: number): Promise<string> {
  const line = lineHtml(report, details, most);
  const chart = await candidatesSvg(details, report.macsBefore, `chart-layer${index}`);
  const inside = [
    report.method === null ? "" : factsHtml(report),
    stagesHtml(details),
    chart === null ? "" : chartHtml(chart, details),
  ].filter((part) => part !== "");
  const kind = report.method === null && report.channelsAfter === null ? "left" : "replaced";
  if (inside.length === 0) return `<div class="layer ${kind}"><div class="line">${line}</div></div>`;
  return `<details class="layer ${kind}">\n<summary class="line">${line}</summary>\n${inside.join("\n")}\n</details>`;
}

/** What PyTorch's exporter ends every name with, which tells nothing in a list. */
const EXPORTED = /(?<=.)\/(Conv|Gemm|MatMul)$/;

function lineHtml(report: LayerReport, details: LayerDetails, most: number): string {
  const { name, shape, macsBefore, macsAfter } = report;
  const cells = [
    `<b title="${quoted(printable(name))}">${escaped(shortName(name.replace(EXPORTED, ""), 24))}</b>`,
    shape.join("×"),
    `${barHtml(macsBefore, macsAfter, most)}${macsText(macsBefore, macsAfter)}`,
    timesText(report, details),
    whatBecame(report, details),
  ];
  return cells.map((cell) => `<span>${cell}</span>`).join("");
}

function whatBecame(report: LayerReport, details: LayerDetails): string {
  const { method, rank, channelsAfter } = report;
  const slim = channelsAfter === null ? [] : [`slim ${channelsAfter.outputs}×${channelsAfter.inputs}`];
  const factors = method === null ? [] : [`${escaped(method)} ${rankText(rank)}`];
  const parts = [...slim, ...factors];
  return parts.length > 0 ? parts.join(", ") : `<i>${escaped(printable(whyLeft(report, details)))}</i>`;
}

function barHtml(before: number, after: number, most: number): string {
  const share = (value: number) => `${Math.max(0.3, (100 * value) / most).toFixed(1)}%`;
  return `<span class="bar" aria-hidden="true"><i style="width:${share(before)}"></i><i style="width:${share(after)}"></i></span>`;
}

const macsText = (before: number, after: number): string =>
  before === after ? count(before) : `${count(before)} → ${count(after)}`;

function timesText({ msBefore, msAfter }: LayerReport, { ms }: LayerDetails): string {
  if (msBefore === null || msAfter === null) return ms === null ? "" : digits(ms);
  const ratio = msAfter > 0 ? ` <b>${digits(msBefore / msAfter)}×</b>` : "";
  return `${digits(msBefore)} → ${digits(msAfter)}${ratio}`;
}

/** The numbers of a rank with their names. */
function namedRank(method: string | null, rank: LayerReport["rank"]): string {
  const names = METHODS.find(({ name }) => name === method)?.parameters ?? [];
  return [rank ?? []]
    .flat()
    .map((number, i) => `${names[i] ?? ""} ${number}`.trim())
    .join(", ");
}

const rankText = (rank: LayerReport["rank"]): string => [rank ?? []].flat().join("/");

/** A candidate that saves less time than this is no gain. */
const LEAST_TIME = 0.97;

/** Why a layer is as it was: told by its times where no candidate was faster. */
function whyLeft({ reason }: LayerReport, { ms, candidates }: LayerDetails): string {
  const timed = candidates.flatMap((each) => each.ms ?? []);
  if (ms === null || timed.length === 0) return reason;
  const fastest = Math.min(...timed);
  if (fastest < LEAST_TIME * ms) return reason;
  const tried = `the fastest of ${plural(timed.length, "candidate")} that were timed takes ${digits(fastest)} ms, the layer ${digits(ms)} ms`;
  return `left alone: nothing is faster (${tried})`;
}

function factsHtml(report: LayerReport): string {
  const { name, method, rank, macsBefore, macsAfter, paramsBefore, paramsAfter, error, errorRefit, tuning } = report;
  const tuned =
    tuning === null
      ? null
      : tuning.epochs === 0
        ? "not needed"
        : `${digits(tuning.epochs)} epochs, loss ${digits(tuning.lossBefore ?? 0)} → ${digits(tuning.lossAfter ?? 0)}`;
  return pairsHtml([
    ["name", printable(name)],
    ["method", method],
    ["rank", namedRank(method, rank)],
    ["fewer MACs", `${digits(macsBefore / Math.max(1, macsAfter))}×`],
    ["parameters", `${count(paramsBefore)} → ${count(paramsAfter)}`],
    ["relative error, expected", error === null ? null : digits(error)],
    ["error after the refit", errorRefit === null ? null : digits(errorRefit)],
    ["tuning above", tuned],
    ["how", printable(report.reason)],
  ]);
}

function stagesHtml({ name, stages }: LayerDetails): string {
  if (stages === null) return "";
  const svg = stagesSvg(stages).replace(
    "<svg ",
    `<svg role="img" aria-label="${quoted(`What stands for ${printable(name)}`)}" `,
  );
  return `<div class="wide stages">${svg}</div>`;
}

function chartHtml(svg: string, { name, candidates }: LayerDetails): string {
  const drawing = svg.replace("<svg ", `<svg role="img" aria-label="${quoted(`Candidates of ${printable(name)}`)}" `);
  const timed = candidates.filter(({ ms }) => ms !== null).length;
  const times = timed === 0 ? "" : `, ${timed} were timed`;
  const caption =
    `${plural(candidates.length, "candidate")}${times}. Lines join those of a method that none of the same method beats; ` +
    `a candidate that another beats by far was not measured further.`;
  return `<figure><div class="wide">${drawing}</div><figcaption>${caption}</figcaption></figure>`;
}

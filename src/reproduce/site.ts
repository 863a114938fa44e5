// The folder that is shown to people: the page, its figures and tables as files of their own, and all values as JSON.

import { drawChart } from "../report/charts.ts";
import { accuracy, count, interval, plural } from "../report/format.ts";
import { snakeCased } from "../report/json.ts";
import { htmlPage, type PageFact, type PageFigure, type PageSection, type PageTable } from "../report/page.ts";
import type { Stage } from "./cascade.ts";
import { curveFigure } from "./curves.ts";
import { ENOUGH } from "./experiments.ts";
import type { Figure } from "./figure.ts";
import { cascadeFigure, clusterFigure, denseFigure, errorFigure, speedFigure } from "./figures.ts";
import type { LayerResults, Results } from "./run.ts";
import {
  cascadeTable,
  curveTable,
  type DataTable,
  layerTable,
  methodTable,
  speedTable,
  tableCells,
  tableText,
  tableValues,
  threadsText,
  times,
} from "./tables.ts";
import { methodWorthTable, metricTable } from "./worth.ts";

/** What is told of a run beside its results. */
export interface SiteOptions {
  /** Of the network. */
  readonly name: string;
  /** What the images are, and the machine: a sentence each. */
  readonly data: string;
  readonly machine: string;
  /** The command that makes the folder. */
  readonly command: string;
  readonly seed: number;
  readonly costs: { readonly macs: number; readonly params: number };
  readonly notes: readonly string[];
}

/** The files by name, and what they say in short. */
export interface Site {
  readonly files: ReadonlyMap<string, string>;
  readonly findings: readonly Finding[];
}

export interface Finding {
  readonly figure: string;
  readonly text: string;
}

interface Part {
  readonly id: string;
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly figures: readonly (Figure | null)[];
  readonly tables: readonly { readonly table: DataTable; readonly folded: boolean }[];
}

/** The same results give the same files. */
export async function makeSite(results: Results, options: SiteOptions): Promise<Site> {
  const files = new Map<string, string>();
  const findings: Finding[] = [];
  const sections: PageSection[] = [];
  for (const { figures, tables, ...section } of partsOf(results)) {
    const parts: (PageFigure | PageTable)[] = [];
    for (const figure of figures) {
      if (figure === null) continue;
      const { name, title, caption, chart } = figure;
      const svg = await drawChart(chart, name);
      files.set(`figures/${name}.svg`, svg);
      findings.push({ figure: `figures/${name}.svg`, text: caption });
      parts.push({ kind: "figure", id: `figure-${name}`, title, svg, caption });
    }
    for (const { table, folded } of tables) {
      if (table.rows.length === 0) continue;
      files.set(`tables/${table.name}.txt`, tableText(table));
      files.set(`tables/${table.name}.json`, json(tableValues(table)));
      const { title, caption, columns } = table;
      const id = `table-${table.name}`;
      parts.push({ kind: "table", id, title, caption, columns, rows: tableCells(table), folded });
    }
    if (parts.length > 0) sections.push({ ...section, parts });
  }
  files.set("results.json", json(valuesOf(results, options)));
  files.set("index.html", htmlPage({ ...headOf(results, options), sections, footer: footerOf(results, options) }));
  return { files, findings };
}

const json = (value: unknown): string => `${JSON.stringify(snakeCased(value), null, 2)}\n`;

/** The sections, in the paper's order. */
function partsOf(results: Results): readonly Part[] {
  const { layers } = results;
  const [first, second] = (["first", "second"] as const).map((role) => layers.find((one) => one.role === role));
  const titled = (title: string, one: LayerResults | undefined) =>
    one === undefined ? title : `${title}, ${one.layer.name}`;
  const curves = (one: LayerResults | undefined) => {
    const methods = new Set(one?.curves.map(({ method }) => method));
    return one === undefined ? [] : [...methods].map((method) => curveFigure(results, one, method));
  };
  return [
    {
      ...{ id: "layers", title: "Every layer by every method" },
      paragraphs: [
        "Each layer alone is replaced and nothing else is changed. Of all ranks that take at least twice, and at least four " +
          "times, fewer multiply-accumulates (MACs), the one with the least error under the metric that the network's answers follow best " +
          "(kfac where its answers are classes, else covariance) stands in the table.",
      ],
      figures: [errorFigure(results)],
      tables: [
        { table: methodWorthTable(results), folded: false },
        { table: layerTable(results), folded: false },
        { table: methodTable(results), folded: true },
      ],
    },
    {
      ...{ id: "first", title: titled("The first convolution", first) },
      paragraphs: [
        "Accuracy against compression, under each metric, before and after tuning what stands above the layer.",
      ],
      figures: curves(first),
      tables: [{ table: curveTable(results, "first"), folded: true }],
    },
    {
      ...{ id: "second", title: titled("The second convolution", second) },
      paragraphs: [
        "The same for the second convolution. Where a method has several numbers to choose, each point is the choice with the " +
          "least error under that metric among those that take at least so many times fewer MACs.",
      ],
      figures: [clusterFigure(results), ...curves(second)],
      tables: [{ table: curveTable(results, "second"), folded: true }],
    },
    {
      ...{ id: "metrics", title: "The metrics" },
      paragraphs: ["What is close depends on the metric: the same curves, in numbers."],
      figures: [],
      tables: [{ table: metricTable(results), folded: false }],
    },
    {
      ...{ id: "speed", title: "Measured against theoretical speed-up" },
      paragraphs: [
        "MACs do not stand for time: every point was timed in ONNX Runtime, the layer before and after in turn.",
      ],
      figures: [speedFigure(results)],
      tables: [{ table: speedTable(results), folded: true }],
    },
    {
      ...{ id: "dense", title: "Fully connected layers" },
      paragraphs: ["Singular value decomposition over ranks: parameters against accuracy."],
      figures: [denseFigure(results)],
      tables: [{ table: curveTable(results, "dense"), folded: true }],
    },
    {
      ...{ id: "cascade", title: "The whole network" },
      paragraphs: [
        "From the first layer to the last, each takes of all methods' settings that are so many times cheaper the one with the least " +
          "error; a layer that alone would lose more than a point takes the most of the lesser ratios at which it does not, or stays " +
          "as it was. After each, what stands above is tuned until the accuracy is back or the layer's epochs are spent, as in the paper.",
      ],
      figures: [cascadeFigure(results)],
      tables: [{ table: cascadeTable(results), folded: false }],
    },
  ];
}

function headOf({ baseline, layers, ...results }: Results, { name, data, costs }: SiteOptions) {
  const { quality, n, top1, top1Ci95 } = baseline;
  const start =
    quality === "top-1"
      ? `${accuracy(top1)} top-1 on ${plural(n, "image")} (${interval(top1Ci95, accuracy)})`
      : `no labels: accuracy is the share of ${plural(n, "image")} that the original answers alike`;
  return {
    title: "Exploiting linear structure, measured again",
    subtitle: `The evaluation of Denton, Zaremba, Bruna, LeCun and Fergus (NeurIPS 2014) on ${name}`,
    facts: factsOf({ baseline, layers, ...results }),
    paragraphs: [
      `The network: ${plural(layers.length, "layer")} that can be approximated, ${count(costs.macs)} MACs for one image, ` +
        `${count(costs.params)} parameters, ${start}. ${data}`,
      "Intervals are 95%; a loss in points is paired, image by image, with the original's answers.",
    ],
  };
}

/** What is gained where no more than a point is lost. */
function factsOf({ layers, stages }: Results): readonly PageFact[] {
  const facts: PageFact[] = [];
  for (const role of ["first", "second", "dense"] as const) {
    const reached = layers.filter((one) => one.role === role).flatMap(bestWithin);
    const best = reached.sort((a, b) => b.ratio - a.ratio)[0];
    if (best === undefined) continue;
    const what = role === "dense" ? "fewer parameters" : "fewer MACs";
    const measured = best.measured === null ? "" : `, measured up to ${times(best.measured)} faster`;
    facts.push({ value: times(best.ratio), label: `${what} in ${best.layer} by ${best.method}${measured}` });
  }
  const timed = stages.filter(({ accuracy: { drop }, speeds }) => drop <= ENOUGH && speeds.length > 0);
  const speedOf = ({ speeds }: Stage) => Math.max(...speeds.map(({ speedup }) => speedup));
  const whole = timed.sort((a, b) => speedOf(b) - speedOf(a))[0];
  const speed = whole && speedOf(whole);
  if (whole !== undefined && speed !== undefined && speed > 1) {
    const lost = `${Math.max(0, whole.accuracy.drop).toFixed(2)} points lost`;
    facts.push({
      value: times(speed),
      label: `faster, the whole network, ${plural(whole.links.length, "layer")} replaced, ${lost}`,
    });
  }
  return facts;
}

/** The cheapest setting of a layer, refitted or tuned, within the points that may be lost. */
function bestWithin({ layer, points, tuned, speeds }: LayerResults) {
  const good = [
    ...points.filter(({ refit }) => refit.drop <= ENOUGH),
    ...tuned.filter(({ tuned: { drop } }) => drop <= ENOUGH),
  ].sort((a, b) => a.setting.macs - b.setting.macs);
  const [best] = good;
  if (best === undefined) return [];
  const { setting } = best;
  const own = speeds.filter(
    (speed) => speed.setting.method === setting.method && `${speed.setting.rank}` === `${setting.rank}`,
  );
  const measured = own.length === 0 ? null : Math.max(...own.map((speed) => speed.measured));
  const ratio = layer.op === "Conv" ? layer.macs / setting.macs : layer.params / setting.params;
  return [{ layer: layer.name, method: setting.method, ratio, measured }];
}

function footerOf({ runnings }: Results, { machine, command, seed, notes }: SiteOptions): readonly string[] {
  const ways = runnings.map(({ batch, threads }) => `batch ${batch} on ${threadsText(threads)}`).join(", ");
  return [
    `Made by: ${command} (seed ${seed}). The same command goes on where it was stopped, and makes the same page from what it found.`,
    `Timed on ${machine}: ${ways}.`,
    ...notes.map((note) => `Note: ${note}.`),
  ];
}

/** What results.json holds. */
function valuesOf({ baseline, layers, stages, runnings }: Results, { name, machine, seed, costs, notes }: SiteOptions) {
  return {
    network: { name, ...costs },
    baseline,
    layers: layers.map(({ layer: { name: own, op, shape, macs, params }, table, curves, closest, ...found }) => ({
      ...{ name: own, op, shape: [shape.F, shape.C, shape.X, shape.Y], macs, params },
      ...found,
    })),
    cascade: stages,
    runnings,
    machine,
    seed,
    notes,
  };
}

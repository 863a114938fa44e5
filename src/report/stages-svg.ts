// Draws what stands for a layer: boxes from left to right for its nodes, before and after, with channels, kernels and groups in them
// and the shapes of values between them. Nodes that are alike and stand side by side are one box with a count.

import { CHART_COLOURS, SERIES_COLOURS } from "./charts.ts";
import { count } from "./format.ts";
import type { StageDetails, StagesDetails } from "./html-details.ts";
import { escaped } from "./page.ts";

/** Nodes of one kind at one depth. */
export interface StageBox {
  /** Steps from the part's inputs, from 0. */
  readonly column: number;
  readonly count: number;
  readonly title: string;
  readonly lines: readonly string[];
  /** Below the box. */
  readonly cost: string;
  /** Of a value that it makes. */
  readonly shape: string;
  readonly weighted: boolean;
  /** Whether it reads what comes from before the part, and whether nothing in the part reads what it makes. */
  readonly first: boolean;
  readonly last: boolean;
  /** Indices of the boxes whose values it reads. */
  readonly reads: readonly number[];
}

/** Pixels. */
const BOX = { bare: 30, padding: 12, line: 15, below: 26 };
const GAP = { least: 44, around: 18 };
const LETTER = { title: 7.3, line: 6.5, shape: 6.4 };
const MARGIN = { left: 64, right: 10, top: 8, bottom: 4 };

/** @returns an SVG element as text */
export function stagesSvg({ before, after }: StagesDetails): string {
  const rows: Row[] = [];
  let top = MARGIN.top;
  for (const [name, nodes] of [
    ["before", before],
    ["after", after],
  ] as const) {
    const row = placed(name, stageBoxes(nodes), top);
    rows.push(row);
    top += row.height;
  }
  const width = Math.ceil(Math.max(...rows.map((row) => row.width)) + MARGIN.right);
  const height = top + MARGIN.bottom;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `${head} font-family="system-ui, sans-serif">\n${rows.map(rowSvg).join("\n")}\n</svg>`;
}

/** Boxes by column, each after those that it reads. */
function stageBoxes(nodes: readonly StageDetails[]): readonly StageBox[] {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const columns = new Map<StageDetails, number>();
  const groups = new Map<string, StageDetails[]>();
  for (const node of nodes) {
    const sources = node.inputs.flatMap((name) => makers.get(name) ?? []);
    const column = Math.max(0, ...sources.map((source) => (columns.get(source) ?? 0) + 1));
    columns.set(node, column);
    const { op, weight, group, strides, shape } = node;
    const key = JSON.stringify([column, op, weight, group, strides, shape]);
    groups.set(key, [...(groups.get(key) ?? []), node]);
  }
  const all = [...groups.values()].sort((a, b) => columns.get(a[0]!)! - columns.get(b[0]!)!);
  const boxOf = new Map(all.flatMap((group, index) => group.map((node) => [node, index] as const)));
  return all.map((group): StageBox => {
    const [node] = group as [StageDetails];
    const inputs = group.flatMap((one) => one.inputs);
    const sources = inputs.flatMap((name) => makers.get(name) ?? []);
    const macs = group.reduce((sum, one) => sum + one.macs, 0);
    return {
      ...{ column: columns.get(node)!, count: group.length, ...wordsOf(node), weighted: node.weight !== null },
      cost: macs > 0 ? `${count(macs)} MACs` : "",
      shape: node.shape?.join("×") ?? "",
      first: inputs.some((name) => !makers.has(name)),
      last: group.every((one) => one.outputs.every((name) => !read.has(name))),
      reads: [...new Set(sources.map((source) => boxOf.get(source)!))],
    };
  });
}

function wordsOf({ op, weight, channels, group, strides, dilations }: StageDetails) {
  if (op === "Gather") return { title: op, lines: ["new order"] };
  if (weight === null || channels === null) return { title: op, lines: [] };
  const [from, to] = channels;
  const lines = [`${from} → ${to}`];
  if (group > 1) lines.push(group === from && from === to ? "depthwise" : `${group} groups`);
  const [stride = 1] = strides;
  if (strides.some((each) => each > 1)) {
    lines.push(`stride ${strides.every((each) => each === stride) ? stride : strides.join("×")}`);
  }
  if (dilations.some((each) => each > 1)) lines.push(`dilation ${dilations.join("×")}`);
  return { title: op === "Conv" ? `Conv ${weight.slice(2).join("×")}` : op, lines };
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface Row {
  readonly name: string;
  readonly boxes: readonly StageBox[];
  readonly places: readonly Place[];
  /** The line on which boxes that stand alone in their column are centred. */
  readonly middle: number;
  readonly width: number;
  readonly height: number;
}

function placed(name: string, boxes: readonly StageBox[], top: number): Row {
  const count = Math.max(...boxes.map(({ column }) => column)) + 1;
  const columns = Array.from({ length: count }, (_, at) => boxes.filter(({ column }) => column === at));
  const heights = columns.map((own) => own.reduce((sum, box) => sum + boxHeight(box) + BOX.below, 0));
  const height = Math.max(...heights);
  const middle = top + (height - BOX.below) / 2;
  const places = new Map<StageBox, Place>();
  let x = MARGIN.left + GAP.least;
  for (const [at, own] of columns.entries()) {
    const width = Math.max(...own.map(boxWidth));
    let y = middle - (heights[at]! - BOX.below) / 2;
    for (const box of own) {
      places.set(box, { x, y, width, height: boxHeight(box) });
      y += boxHeight(box) + BOX.below;
    }
    x += width + Math.max(GAP.least, ...own.map(({ shape }) => LETTER.shape * shape.length + GAP.around));
  }
  return { name, boxes, places: boxes.map((box) => places.get(box)!), middle, width: x, height };
}

const boxHeight = ({ lines }: StageBox): number => (lines.length === 0 ? BOX.bare : BOX.bare + BOX.line * lines.length);

const boxWidth = ({ title, count: alike, lines, cost }: StageBox): number =>
  2 * BOX.padding +
  Math.max(
    LETTER.title * (title.length + (alike > 1 ? 3 + String(alike).length : 0)),
    ...[...lines, cost].map((line) => LETTER.line * line.length),
  );

const { text, quiet, line, grid } = CHART_COLOURS;
const ACCENT = SERIES_COLOURS[0]!;

function rowSvg(row: Row): string {
  const { name, boxes, places, middle } = row;
  const label = `<text x="0" y="${round(middle + 4)}" font-size="12" font-weight="600" fill="${quiet.light}">${name}</text>`;
  return [
    label,
    ...boxes.flatMap((box, i) => edgesSvg(row, box, i)),
    ...boxes.map((box, i) => boxSvg(box, places[i]!)),
  ].join("\n");
}

/** What leads to a box, and from the last one out. */
function edgesSvg({ places, middle, width }: Row, box: StageBox, index: number): string[] {
  const to = places[index]!;
  const edges = box.reads.map((source) => curve(outOf(places[source]!), into(to)));
  if (box.first) edges.push(curve([MARGIN.left, middle], into(to)));
  const [x, y] = outOf(to);
  const end = box.last ? width - 6 : x + GAP.least / 2;
  if (box.last) edges.push(curve([x, y], [end, y]));
  if (box.shape === "") return edges;
  const at = `x="${round(x + 6)}" y="${round(y - 6)}"`;
  return [...edges, `<text ${at} font-size="10.5" fill="${quiet.light}">${escaped(box.shape)}</text>`];
}

type Point = readonly [x: number, y: number];

const outOf = ({ x, y, width, height }: Place): Point => [x + width, y + height / 2];
const into = ({ x, y, height }: Place): Point => [x, y + height / 2];

/** A line with a small arrowhead. */
function curve([x1, y1]: Point, [x2, y2]: Point): string {
  const bend = (x2 - x1) / 2;
  const path =
    y1 === y2
      ? `M${round(x1)} ${round(y1)}H${round(x2 - 4)}`
      : `M${round(x1)} ${round(y1)}C${round(x1 + bend)} ${round(y1)} ${round(x2 - bend)} ${round(y2)} ${round(x2 - 4)} ${round(y2)}`;
  const head = `M${round(x2 - 6)} ${round(y2 - 3.5)}L${round(x2)} ${round(y2)}L${round(x2 - 6)} ${round(y2 + 3.5)}Z`;
  return `<path d="${path}" fill="none" stroke="${line.light}" stroke-width="1.5"/><path d="${head}" fill="${line.light}"/>`;
}

function boxSvg({ title, count: alike, lines, cost, weighted }: StageBox, { x, y, width, height }: Place): string {
  const middle = round(x + width / 2);
  const rect = `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" rx="5" fill="${grid.light}" stroke="${(weighted ? ACCENT : line).light}"/>`;
  const words = (content: string, at: number, rest: string) =>
    `<text x="${middle}" y="${round(at)}" text-anchor="middle" ${rest}>${escaped(content)}</text>`;
  const whole = alike > 1 ? `${alike} × ${title}` : title;
  return [
    rect,
    words(whole, y + 19, `font-size="12.5" font-weight="600" fill="${text.light}"`),
    ...lines.map((one, i) => words(one, y + 37 + BOX.line * i, `font-size="12" fill="${text.light}"`)),
    ...(cost === "" ? [] : [words(cost, y + height + 14, `font-size="10.5" fill="${quiet.light}"`)]),
  ].join("");
}

const round = (value: number): number => Math.round(10 * value) / 10;

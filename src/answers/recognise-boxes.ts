// Boxes among a network's outputs: anchors in one output (YOLO), in a pair (SSD, DETR), or lists after suppression.

import { chosenFrom, frontier, isSelected, lastOp } from "./behind.ts";
import { areProbabilities, type Facts, isCalled, sizesOf, valuesOf, within } from "./facts.ts";
import type { AnchorLayout, BoxesHead, Column, Coordinates, ListLayout, SampleValue } from "./head.ts";

/** Fewer rows than this are no anchors. */
const LEAST_ANCHORS = 16;

/** The boxes that some of the outputs hold; null where none do. */
export function recogniseBoxes(facts: Facts, outputs: readonly string[]): BoxesHead | null {
  return fromOne(facts, outputs) ?? listed(facts, outputs) ?? fromPair(facts, outputs);
}

/** A value seen as rows of columns: the longer axis is the anchors'. */
interface Grid {
  readonly name: string;
  readonly values: readonly SampleValue[];
  readonly anchors: "first" | "last";
  readonly count: number;
  readonly columns: number;
}

function gridOf(facts: Facts, name: string): Grid | null {
  const values = valuesOf(facts, name);
  if (values === null) return null;
  const sizes = values[0]!.dims.length <= 2 ? values[0]!.dims : sizesOf(values[0]!);
  if (sizes.length !== 2) return null;
  const [first = 0, last = 0] = sizes;
  const anchors = first >= last ? "first" : "last";
  return { name, values, anchors, count: Math.max(first, last), columns: Math.min(first, last) };
}

function column({ values, anchors, count, columns }: Grid, c: number): readonly Float32Array[] {
  return values.map(({ data }) =>
    Float32Array.from({ length: count }, (_, a) => data[anchors === "first" ? a * columns + c : c * count + a]!),
  );
}

const all = (columns: readonly Float32Array[], test: (value: number) => boolean) =>
  columns.every((one) => one.every(test));
const share = (columns: readonly Float32Array[], test: (value: number, sample: number, i: number) => boolean) => {
  let [count, yes] = [0, 0];
  for (const [s, one] of columns.entries()) {
    for (const [i, value] of one.entries()) {
      count++;
      if (test(value, s, i)) yes++;
    }
  }
  return count === 0 ? 0 : yes / count;
};

const isUnit = (value: number) => value >= -1e-4 && value <= 1 + 1e-4;

/** YOLO: four numbers of the box, then scores; [4 + K, A] without objectness (v8 to v11), [A, 5 + K] with it (v5 to v7). */
function fromOne(facts: Facts, outputs: readonly string[]): BoxesHead | null {
  for (const output of outputs) {
    const grid = gridOf(facts, output);
    if (grid === null || grid.columns < 5 || grid.count < LEAST_ANCHORS || !isTable(facts, grid)) continue;
    const scored = unitColumns(grid, 4);
    if (scored === 0) continue;
    const coordinates = coordinatesOf(grid);
    if (coordinates === null) continue;
    const objectness = grid.anchors === "first" && scored >= 2 ? 4 : null;
    const from = objectness === null ? 4 : 5;
    const place = { value: output, anchors: grid.anchors };
    const layout: AnchorLayout = {
      ...{ boxes: place, scores: place, coordinates, objectness, from, classes: scored - (from - 4) },
      ...{ form: "probabilities", background: null },
    };
    return { kind: "boxes", outputs: [output], values: [output], anchors: layout, list: null, sure: true };
  }
  return null;
}

/** Two sizes, and numbers of several meanings: no single activation made all of them. */
function isTable({ graph }: Facts, { name, values }: Grid): boolean {
  const [{ dims }] = values as [SampleValue];
  const uniform = ["Softmax", "Sigmoid", "LogSoftmax"].includes(lastOp(graph, name));
  return dims.length === 2 && !uniform && !areProbabilities(values, dims[1]!, "last");
}

/** How many columns from `from` on are probabilities throughout; others may follow (masks, key points). */
function unitColumns(grid: Grid, from: number): number {
  let c = from;
  while (c < grid.columns && all(column(grid, c), isUnit)) c++;
  return c - from;
}

/** How the first four columns make boxes, if they do. */
function coordinatesOf(grid: Grid): Exclude<Coordinates, "offsets"> | null {
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => column(grid, i)) as [
    Float32Array[],
    Float32Array[],
    Float32Array[],
    Float32Array[],
  ];
  // Corners: the second is beyond the first for every anchor. Sizes have no such order, nor are they below 0.
  const ordered = share(c, (value, s, i) => value >= a[s]![i]! && d[s]![i]! >= b[s]![i]!);
  if (ordered > 0.999) return "xyxy";
  const sized = share(c, (value, s, i) => value >= 0 && d[s]![i]! >= 0);
  // Centres stand in the image, so that the most of them are above 0 as well.
  const placed = share(a, (value, s, i) => value >= 0 && b[s]![i]! >= 0);
  return sized > 0.999 && placed > 0.95 ? "cxcywh" : null;
}

/** Boxes [A, 4] and scores [A, K] in outputs of their own. */
function fromPair(facts: Facts, outputs: readonly string[]): BoxesHead | null {
  const layout = pairAmong(facts, outputs, facts.asked === "boxes");
  if (layout === null) return null;
  const names = [...new Set([layout.boxes.value, layout.scores.value])];
  return {
    kind: "boxes",
    outputs: names,
    values: names,
    anchors: layout,
    list: null,
    sure: layout.coordinates !== "offsets",
  };
}

function pairAmong(facts: Facts, names: readonly string[], asked: boolean): AnchorLayout | null {
  const grids = names.flatMap((name) => gridOf(facts, name) ?? []);
  for (const boxes of grids) {
    if (boxes.columns !== 4 || boxes.count < LEAST_ANCHORS) continue;
    const scores = grids.find(
      (other) => other !== boxes && other.count === boxes.count && (other.columns !== 4 || !isBoxes(other)),
    );
    if (scores === undefined) continue;
    const coordinates = coordinatesOf(boxes) ?? "offsets";
    const form = formOf(facts, scores);
    if (coordinates === "offsets" && form === null && !asked) continue;
    return {
      boxes: { value: boxes.name, anchors: boxes.anchors },
      scores: { value: scores.name, anchors: scores.anchors },
      ...{ coordinates, objectness: null, from: 0, classes: scores.columns },
      ...scoresOf(scores, form ?? "sigmoid-logits"),
    };
  }
  return null;
}

const isBoxes = (grid: Grid): boolean => coordinatesOf(grid) === "xyxy";

function formOf({ graph }: Facts, scores: Grid): AnchorLayout["form"] | null {
  if (within(scores.values, -1e-4, 1 + 1e-4)) return "probabilities";
  return lastOp(graph, scores.name) === "Concat" || lastOp(graph, scores.name) === "Add" ? "sigmoid-logits" : null;
}

/** Where rows sum to one there is a class for "nothing", which most anchors are: SSD has it first, DETR last. */
function scoresOf(grid: Grid, form: AnchorLayout["form"]): Pick<AnchorLayout, "form" | "background"> {
  if (grid.columns < 2) return { form, background: null };
  const columns = Array.from({ length: grid.columns }, (_, c) => column(grid, c));
  const sums = columns[0]!.map((one, s) => one.map((_, i) => columns.reduce((sum, each) => sum + each[s]![i]!, 0)));
  if (form === "probabilities" && !all(sums, (sum) => Math.abs(sum - 1) < 1e-2)) return { form, background: null };
  if (form !== "probabilities") return logitsOf(columns);
  return { form, background: mostOften(columns) };
}

function logitsOf(columns: readonly (readonly Float32Array[])[]): Pick<AnchorLayout, "form" | "background"> {
  const often = mostOften(columns);
  const above = share(columns[often]!, (value) => value > 0);
  // A class that nearly all anchors are of is the one for nothing; were each class a yes or no, none would be said of most.
  return above > 0.5 && (often === 0 || often === columns.length - 1)
    ? { form: "softmax-logits", background: often }
    : { form: "sigmoid-logits", background: null };
}

function mostOften(columns: readonly (readonly Float32Array[])[]): number {
  const counts = columns.map((own, c) =>
    share(own, (value, s, i) => columns.every((other, k) => k === c || other[s]![i]! <= value)),
  );
  return counts.indexOf(Math.max(...counts));
}

/** Lists of found objects: rows in one output, or boxes, scores and classes in several. */
function listed(facts: Facts, outputs: readonly string[]): BoxesHead | null {
  const selected = outputs.filter(
    (output) => isSelected(facts.graph, output) && chosenFrom(facts.graph, output)?.op !== "ArgMax",
  );
  const list = inRows(facts, selected) ?? inColumns(facts, selected);
  if (list === null) return null;
  const used = [list.boxes.output, list.scores.output, ...(list.classes === null ? [] : [list.classes.output])];
  const own = new Set(used);
  // How many objects there are is another output of some exporters: it says nothing that the rows do not.
  const counts = selected.filter((name) => !own.has(name) && isCalled(name, ["num", "count"]));
  const anchors = pairAmong(facts, frontier(facts.graph, [...own]), true);
  const values = anchors === null ? [...own] : [...new Set([anchors.boxes.value, anchors.scores.value])];
  return { kind: "boxes", outputs: [...own, ...counts], values, anchors, list, sure: true };
}

/** Where score, class and box stand in rows of six or seven, by those who write such rows. */
const ROWS: readonly {
  readonly width: number;
  readonly score: number;
  readonly label: number;
  readonly box: number;
}[] = [
  { width: 6, score: 4, label: 5, box: 0 },
  { width: 6, score: 1, label: 0, box: 2 },
  { width: 7, score: 6, label: 5, box: 1 },
  { width: 7, score: 2, label: 1, box: 3 },
];

function inRows(facts: Facts, outputs: readonly string[]): ListLayout | null {
  for (const output of outputs) {
    const values = valuesOf(facts, output);
    const width = values?.[0]?.dims.at(-1);
    if (values === null || (width !== 6 && width !== 7)) continue;
    const forms = ROWS.filter((form) => form.width === width);
    const found = forms.find((form) => values.every((value) => fits(value, form))) ?? null;
    if (found === null) continue;
    const at = (place: number): Column => ({ output, width, at: place });
    return { boxes: at(found.box), scores: at(found.score), classes: at(found.label), coordinates: "xyxy" };
  }
  return null;
}

function fits({ data }: SampleValue, { width, score, label, box }: (typeof ROWS)[number]): boolean {
  for (let at = 0; at + width <= data.length; at += width) {
    if (data[at + score]! <= 0) continue;
    const [left, top, right, bottom] = data.subarray(at + box, at + box + 4) as Float32Array;
    const isClass = Number.isInteger(data[at + label]!) && data[at + label]! >= 0;
    if (data[at + score]! > 1 || !isClass || right! < left! || bottom! < top!) return false;
  }
  return true;
}

function inColumns(facts: Facts, outputs: readonly string[]): ListLayout | null {
  const known = outputs.flatMap((name) => {
    const values = valuesOf(facts, name);
    return values === null ? [] : [{ name, values, sizes: values[0]!.dims }];
  });
  const boxes = known.find(({ values }) => values.every(({ dims }) => dims.length === 2 && dims[1] === 4));
  if (boxes === undefined) return null;
  const rows = known.filter(
    ({ name, values }) =>
      name !== boxes.name && values.every(({ data }, i) => data.length === boxes.values[i]!.data.length / 4),
  );
  const whole = ({ values }: (typeof known)[number]) => values.every(({ data }) => data.every(Number.isInteger));
  const scores =
    rows.find((one) => within(one.values, 0, 1) && !whole(one)) ??
    rows.find(({ name }) => isCalled(name, ["score", "conf"]));
  if (scores === undefined) return null;
  const classes = rows.find((one) => one !== scores && whole(one)) ?? null;
  const coordinates = isCalled(boxes.name, ["detection_boxes"]) ? ("yxyx" as const) : ("xyxy" as const);
  return {
    boxes: { output: boxes.name, width: 4, at: 0 },
    scores: { output: scores.name, width: 1, at: 0 },
    classes: classes === null ? null : { output: classes.name, width: 1, at: 0 },
    coordinates,
  };
}

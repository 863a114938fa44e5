// Charts as SVG text, drawn by ECharts without a browser: panels side by side with lines, points, intervals and reference lines,
// in one restrained style. The same data gives the same text. ECharts is loaded when the first chart is drawn.

import type { CustomSeriesOption, LineSeriesOption } from "echarts/charts";

export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  /** The interval of y. */
  readonly range?: readonly [low: number, high: number];
}

export interface ChartSeries {
  /** Series of one name have one entry in the legend. */
  readonly name: string;
  /** Index of colour and symbol; the same over all charts that show the same thing. */
  readonly style: number;
  readonly points: readonly ChartPoint[];
  /** Whether points are joined, in their order; by default they are. */
  readonly joined?: boolean;
  readonly dashed?: boolean;
}

export interface ChartAxis {
  readonly name: string;
  readonly log?: boolean;
  readonly min?: number;
  readonly max?: number;
  readonly format?: (value: number) => string;
  /** Names for 0, 1, 2 and so on, in place of numbers. */
  readonly ticks?: readonly string[];
}

/** A line to compare with: y = at, or y = x. */
export interface ChartGuide {
  readonly name: string;
  readonly at: number | "diagonal";
}

export interface ChartPanel {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  readonly guides?: readonly ChartGuide[];
  /** By default the chart's. */
  readonly y?: ChartAxis;
}

/** Panels of the same axes share their ranges. */
export interface Chart {
  readonly panels: readonly ChartPanel[];
  readonly x: ChartAxis;
  readonly y: ChartAxis;
  /** Panels in a row; by default all. */
  readonly columns?: number;
}

/**
 * After Okabe and Ito's palette, the first five of which people with any kind of colour vision can tell apart; symbols tell the others.
 * For light ground, and lighter for dark.
 */
export const SERIES_COLOURS: readonly Shade[] = [
  { light: "#0072b2", dark: "#4fa8de" },
  { light: "#d55e00", dark: "#f08a3c" },
  { light: "#009e73", dark: "#2fc79a" },
  { light: "#b0588f", dark: "#dc93bf" },
  { light: "#a17800", dark: "#e3b52f" },
  { light: "#3a93c9", dark: "#8fd0f5" },
  { light: "#5e646e", dark: "#aab2bd" },
  { light: "#7b4fb5", dark: "#b594e6" },
  { light: "#8a4b2d", dark: "#d09a78" },
];

/** Everything in a chart that is no series. */
export const CHART_COLOURS = {
  text: { light: "#24292f", dark: "#e4e7eb" },
  quiet: { light: "#57606a", dark: "#a3abb5" },
  line: { light: "#b4bac2", dark: "#596069" },
  grid: { light: "#e7eaee", dark: "#31363d" },
} as const satisfies Record<string, Shade>;

/** A colour on light ground, and what stands for it on dark ground. */
export interface Shade {
  readonly light: string;
  readonly dark: string;
}

const SYMBOLS = ["circle", "rect", "triangle", "diamond"] as const;

/** Pixels of a whole chart, of a panel, and of what surrounds panels: above a panel stands its title, below it its axis. */
const WIDTH = 960;
const HEIGHT = 208;
const MARGIN = { left: 62, right: 14, above: 38, below: 52, gap: 52 };

/** Of the legend: its symbols, what lies between two entries and between rows, a row, and a letter, all as ECharts lays them out. */
const LEGEND = { symbol: 30, gap: 22, row: 14, letter: 5.8 };

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif";

/**
 * @param id begins the names of what the SVG refers to within itself, so that several can stand in one page
 * @throws where a coordinate is not finite
 */
export async function drawChart(chart: Chart, id: string): Promise<string> {
  for (const { x, y } of chart.panels.flatMap(({ series }) => series.flatMap(({ points }) => points))) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) throw new Error(`chart ${id}: (${x}, ${y}) is no point`);
  }
  const echarts = await load();
  const rows = Math.ceil(chart.panels.length / columnsOf(chart));
  const height = legendHeight(chart) + rows * (MARGIN.above + HEIGHT + MARGIN.below);
  const drawing = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  try {
    drawing.setOption(optionOf(chart));
    return plainSvg(drawing.renderToSVGString(), id);
  } finally {
    drawing.dispose();
  }
}

const columnsOf = ({ panels, columns = panels.length }: Chart): number => Math.min(columns, panels.length);

type Echarts = typeof import("echarts/core");

let loaded: Promise<Echarts> | null = null;

function load(): Promise<Echarts> {
  loaded ??= (async () => {
    const [core, { CustomChart, LineChart }, { GridComponent, LegendComponent, TitleComponent }, { SVGRenderer }] =
      await Promise.all([
        import("echarts/core"),
        import("echarts/charts"),
        import("echarts/components"),
        import("echarts/renderers"),
      ]);
    core.use([CustomChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);
    return core;
  })();
  return loaded;
}

/** Without what serves a live chart alone or cannot be seen, and with names that do not depend on what was drawn before. */
function plainSvg(svg: string, id: string): string {
  return svg
    .replace(/<path [^>]*fill-opacity="0"[^>]*stroke-width="0"[^>]*><\/path>\n/g, "")
    .replace(/<style\b[\s\S]*?<\/style>\n?/g, "")
    .replace(/ (class|ecmeta_\w+|pointer-events)="[^"]*"/g, "")
    .replace(/\bzr\d+-/g, `${id}-`)
    .replace(/<(\w+) >/g, "<$1>");
}

function optionOf(chart: Chart) {
  const { panels } = chart;
  const columns = columnsOf(chart);
  const width = (WIDTH - MARGIN.left - MARGIN.right - (columns - 1) * MARGIN.gap) / columns;
  const left = (index: number) => MARGIN.left + (index % columns) * (width + MARGIN.gap);
  const top = (index: number) =>
    legendHeight(chart) + MARGIN.above + Math.floor(index / columns) * (MARGIN.above + HEIGHT + MARGIN.below);
  const axes = panels.map(({ y }) => y ?? chart.y);
  const x = rangeOf(chart.x, "x", panels);
  const y = axes.map((axis) =>
    rangeOf(
      axis,
      "y",
      panels.filter((_, i) => axes[i] === axis),
    ),
  );
  return {
    animation: false,
    textStyle: { fontFamily: FONT, color: CHART_COLOURS.text.light },
    title: panels.map(({ title }, index) => ({
      text: title,
      left: left(index),
      top: top(index) - 28,
      padding: 0,
      textStyle: { fontSize: 13, fontWeight: 600, color: CHART_COLOURS.text.light },
    })),
    legend: {
      data: legendOf(chart),
      selectedMode: false,
      left: MARGIN.left,
      top: 4,
      padding: 0,
      itemWidth: LEGEND.symbol,
      itemHeight: 9,
      itemGap: LEGEND.gap,
      width: WIDTH - MARGIN.left - MARGIN.right,
      textStyle: { fontSize: 12, color: CHART_COLOURS.text.light },
    },
    grid: panels.map((_, index) => {
      return { left: left(index), top: top(index), width, height: HEIGHT, outerBoundsMode: "none" as const };
    }),
    xAxis: panels.map((_, gridIndex) => ({ ...axisOf(chart.x, x), gridIndex, nameGap: 28 })),
    yAxis: axes.map((axis, gridIndex) => {
      const name = gridIndex % columns === 0 ? axis.name : "";
      return { ...axisOf({ ...axis, name }, y[gridIndex]!), gridIndex, nameGap: 48, nameRotate: 90 };
    }),
    series: panels.flatMap((panel, index) => seriesOf(panel, index, x, y[index]!)),
  };
}

type Range = readonly [low: number, high: number];

/** What an axis shows: as said, else what all its panels' points and intervals need, with some room. */
function rangeOf(axis: ChartAxis, which: "x" | "y", panels: readonly ChartPanel[]): Range {
  const values = panels.flatMap(({ series, guides = [] }) => [
    ...series.flatMap(({ points }) =>
      points.flatMap((point) => (which === "x" ? [point.x] : [point.y, ...(point.range ?? [])])),
    ),
    ...guides.flatMap(({ at }) => (which === "y" && typeof at === "number" ? [at] : [])),
  ]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (axis.ticks !== undefined) return [-0.3, axis.ticks.length - 0.7];
  if (axis.log) return [axis.min ?? least / 1.08, axis.max ?? most * 1.08];
  const room = 0.05 * (most - least || Math.abs(most) || 1);
  return [axis.min ?? least - room, axis.max ?? most + room];
}

function axisOf(axis: ChartAxis, [min, max]: Range) {
  const { name, log, ticks } = axis;
  const { text, quiet, line, grid } = CHART_COLOURS;
  const own = log ? LOG_MARKS.filter((value) => value >= min && value <= max) : ticks?.map((_, i) => i);
  const marks = own === undefined ? {} : { customValues: own };
  const format = axis.format ?? (ticks === undefined ? plainNumber : (value: number) => ticks[value] ?? "");
  return {
    type: log ? ("log" as const) : ("value" as const),
    ...(log && { logBase: 2 }),
    name,
    nameLocation: "middle" as const,
    nameTextStyle: { fontSize: 12, color: text.light },
    min,
    max,
    axisLine: { show: true, onZero: false, lineStyle: { color: line.light } },
    axisTick: { ...marks, show: true, length: 4, lineStyle: { color: line.light } },
    axisLabel: {
      ...marks,
      fontSize: 11,
      color: quiet.light,
      formatter: format,
      hideOverlap: true,
      showMinLabel: own !== undefined || isRound(min),
      showMaxLabel: own !== undefined || isRound(max),
    },
    splitLine: { show: true, lineStyle: { color: grid.light } },
    splitNumber: 4,
  };
}

/** Where a logarithmic axis has its numbers: 1, 1.5, 2, 3, 4, 6, 8 and so on, and below 1 as 0.5, 0.2, 0.1, 0.05. */
const LOG_MARKS = [
  ...Array.from({ length: 12 }, (_, i) => 10 ** -(i + 1)).flatMap((power) => [power, 2 * power, 5 * power]),
  ...Array.from({ length: 24 }, (_, i) => 2 ** i).flatMap((power) => [power, 1.5 * power]),
];

/** The ends of a linear axis are labelled only where they would be anyway. */
const isRound = (end: number): boolean => Number(end.toPrecision(2)) === end;

const plainNumber = (value: number): string => String(Number(value.toPrecision(3)));

function legendNames({ panels }: Chart) {
  const named = new Set(panels.flatMap(({ series }) => series.map(({ name }) => name)));
  const compared = new Set(panels.flatMap(({ guides = [] }) => guides.map(({ name }) => name)));
  return { named: [...named], compared: [...compared] };
}

function legendOf(chart: Chart) {
  const { named, compared } = legendNames(chart);
  return [...named.map((name) => ({ name })), ...compared.map((name) => ({ name, itemStyle: { opacity: 0 } }))];
}

function legendHeight(chart: Chart): number {
  const { named, compared } = legendNames(chart);
  const widths = [...named, ...compared].map((name) => LEGEND.symbol + 5 + LEGEND.letter * name.length + LEGEND.gap);
  let [rows, used] = [1, 0];
  for (const width of widths) {
    if (used + width > WIDTH - MARGIN.left - MARGIN.right) [rows, used] = [rows + 1, 0];
    used += width;
  }
  return LEGEND.row * rows + LEGEND.gap * (rows - 1) + 8;
}

function seriesOf({ series, guides = [] }: ChartPanel, index: number, x: Range, y: Range) {
  const place = { xAxisIndex: index, yAxisIndex: index, silent: true } as const;
  const compared = guides.map(({ name, at }): LineSeriesOption => {
    const [low, high] = [Math.max(x[0], y[0]), Math.min(x[1], y[1])];
    const ends = at === "diagonal" ? [low, high].map((value) => [value, value]) : x.map((value) => [value, at]);
    const lineStyle = { color: CHART_COLOURS.quiet.light, width: 1, type: "dotted" as const };
    const itemStyle = { color: CHART_COLOURS.quiet.light };
    return { ...place, type: "line", name, data: ends, symbol: "none", lineStyle, itemStyle };
  });
  return [...compared, ...series.flatMap((one) => [intervalsOf(one, place), lineOf(one, place)])];
}

type Place = Pick<LineSeriesOption, "xAxisIndex" | "yAxisIndex" | "silent">;

function lineOf({ name, style, points, joined = true, dashed = false }: ChartSeries, place: Place): LineSeriesOption {
  const color = colourOf(style);
  return {
    ...place,
    type: "line",
    name,
    data: points.map(({ x, y }) => [x, y]),
    symbol: SYMBOLS[style % SYMBOLS.length]!,
    symbolSize: 7,
    showAllSymbol: true,
    lineStyle: { color, width: joined ? 1.75 : 0, type: dashed ? "dashed" : "solid" },
    itemStyle: { color },
  };
}

/** A vertical stroke for each interval, behind the points. */
function intervalsOf({ style, points }: ChartSeries, place: Place): CustomSeriesOption {
  const data = points.flatMap(({ x, range }) => (range === undefined ? [] : [[x, ...range]]));
  return {
    ...place,
    type: "custom",
    data,
    encode: { x: 0, y: [1, 2] },
    clip: true,
    renderItem: (_, api) => {
      const [from, to] = [1, 2].map((end) => api.coord([api.value(0), api.value(end)]));
      const shape = { x1: from![0]!, y1: from![1]!, x2: to![0]!, y2: to![1]! };
      return { type: "line", shape, style: { stroke: colourOf(style), lineWidth: 1.25, opacity: 0.5 } };
    },
  };
}

const colourOf = (style: number): string => SERIES_COLOURS[style % SERIES_COLOURS.length]!.light;

// The candidates of a layer as a chart: error, sensitivity and time against MACs, a colour for each method, the chosen one marked.

import { type Chart, type ChartPanel, type ChartPoint, type ChartSeries, drawChart } from "./charts.ts";
import { digits } from "./format.ts";
import type { CandidateDetails, LayerDetails } from "./html-details.ts";
import { CHOSEN_STYLE } from "./html-styles.ts";

/** svd is for fully connected layers what channel is for convolutions; the colour of what was chosen is no method's. */
const STYLES: Readonly<Record<string, number>> = {
  ...{ svd: 0, channel: 0, spatial: 2, tucker2: 3, svd3: 4, outer: 5, monochromatic: 7 },
  ...{ "bicluster+outer": 6, "bicluster+svd": 8 },
};

/** Points of a method that are drawn at most. */
const MOST_POINTS = 24;

/** Errors and sensitivities below these are drawn as these. */
const LEAST_ERROR = 1e-4;
const LEAST_SENSITIVITY = 1e-7;

/**
 * @param macs of the layer as it was
 * @returns null where there is nothing to compare
 */
export async function candidatesSvg(
  { candidates, ms }: LayerDetails,
  macs: number,
  id: string,
): Promise<string | null> {
  if (candidates.length < 2) return null;
  const x = (candidate: CandidateDetails) => (100 * candidate.macs) / macs;
  const series = (value: (candidate: CandidateDetails) => number | null, front: boolean): readonly ChartSeries[] => {
    const points = (chosen: readonly CandidateDetails[]) =>
      chosen.flatMap((each): ChartPoint[] => {
        const y = value(each);
        return y === null ? [] : [{ x: x(each), y }];
      });
    const methods = [...new Set(candidates.map(({ method }) => method))];
    const lines = methods.map((method) => {
      const own = points(candidates.filter((each) => each.method === method)).sort((a, b) => a.x - b.x);
      return { name: method, style: STYLES[method] ?? 0, joined: front, points: some(front ? frontOf(own) : own) };
    });
    const all = [...lines, chosenSeries(points(candidates.filter((each) => each.chosen)), lines)];
    return all.filter((one) => one.points.length > 0);
  };
  const panels: ChartPanel[] = [
    {
      title: "relative error of the layer",
      series: series(({ error }) => Math.max(error, LEAST_ERROR), true),
      y: { name: "", log: true, format: short },
    },
    {
      title: "sensitivity to the network's answers",
      series: series(
        ({ sensitivity }) => (sensitivity === null ? null : Math.max(sensitivity, LEAST_SENSITIVITY)),
        true,
      ),
      y: { name: "", log: true, format: short },
    },
    {
      title: "milliseconds",
      series: series((candidate) => candidate.ms, false),
      ...(ms !== null && { guides: [{ name: "the layer as it was", at: ms }] }),
      y: { name: "", min: 0 },
    },
  ];
  const chart: Chart = {
    panels: panels.filter((panel) => panel.series.length > 0),
    x: { name: "MACs of the layer, % of what they were", log: true, format: short },
    y: { name: "" },
  };
  return drawChart(chart, id);
}

/** The chosen one, with a stroke from top to bottom through it. */
function chosenSeries(points: readonly ChartPoint[], lines: readonly ChartSeries[]): ChartSeries {
  const values = lines.flatMap((one) => one.points.map(({ y }) => y));
  const range = [Math.min(...values), Math.max(...values)] as const;
  return { name: "chosen", style: CHOSEN_STYLE, joined: false, points: points.map((point) => ({ ...point, range })) };
}

/** As 0.02 and 2e−4; marks of an axis have one digit or two. */
function short(value: number): string {
  if (value === 0 || value >= 0.001) return String(Number(digits(value)));
  return Number(value.toPrecision(2)).toExponential().replace("-", "−");
}

/** Those than which no other has both less of x and no more of y; by rising x. */
function frontOf(points: readonly ChartPoint[]): readonly ChartPoint[] {
  let least = Number.POSITIVE_INFINITY;
  return points.filter(({ y }) => {
    const better = y < least;
    least = Math.min(least, y);
    return better;
  });
}

/** Evenly taken, the first and the last among them. */
function some(points: readonly ChartPoint[]): readonly ChartPoint[] {
  if (points.length <= MOST_POINTS) return points;
  const step = (points.length - 1) / (MOST_POINTS - 1);
  return Array.from({ length: MOST_POINTS }, (_, i) => points[Math.round(i * step)]!);
}

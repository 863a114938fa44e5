// Carries the evaluation out: layer after layer, point after point, each kept as soon as it is measured.

import type { Layer } from "../analyze/layers.ts";
import type { Decomposition } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import { LowrankError } from "../errors.ts";
import { withLinalg } from "../linalg/products.ts";
import { type Memo, prefixed } from "../memo.ts";
import type { MetricName } from "../metric/metric.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type Candidate, candidateRanks, candidatesOf } from "../search/candidates.ts";
import { type Baseline, measureBaseline } from "./accuracy.ts";
import { type Bench, type LayerBench, openLayer } from "./bench.ts";
import { type Link, measureRefits, measureTunedStage, openLinks, type Stage } from "./cascade.ts";
import {
  curveSettings,
  type Effort,
  ENOUGH,
  expectedSettings,
  FULL,
  type LayerPlan,
  type MethodPlan,
  planLayers,
  type Role,
  type Setting,
  settingsAt,
} from "./experiments.ts";
import { measurePoint, measureTuned, type Point, type TunedPoint } from "./point.ts";
import { measureSpeed, type Running, type Speed } from "./speed.ts";
import type { Subject } from "./subject.ts";

export interface RunOptions extends Control {
  readonly memo: Memo;
  readonly effort?: Effort;
  /** Processors; timing is on one thread and on `threads`, by default all of these. */
  readonly cores: number;
  readonly threads?: number;
  /** What times depend on beside the network: the machine and what runs on it. */
  readonly machine: string;
}

/** Everything that was measured. */
export interface Results {
  readonly baseline: Omit<Baseline, "answers" | "scores" | "wanted">;
  readonly layers: readonly LayerResults[];
  readonly stages: readonly Stage[];
  readonly runnings: readonly Running[];
}

export interface LayerResults {
  readonly layer: Layer;
  readonly role: Role;
  readonly points: readonly Point[];
  readonly tuned: readonly TunedPoint[];
  readonly speeds: readonly Speed[];
  /** The settings of the table and of the curves; points are at either. */
  readonly table: readonly Setting[];
  readonly curves: readonly Setting[];
  /** The metric that settings are chosen under, and that the table and the cascade use. */
  readonly main: MetricName;
  /** Every candidate under `main`. */
  readonly candidates: readonly Candidate[];
  /** What the layer may take in the cascade at each target: the closest candidate, and what it loses alone. */
  readonly closest: readonly { readonly target: number; readonly point: Point }[];
}

/** @throws LowrankError `interrupted` with what was finished kept by the memo */
export async function runExperiments(subject: Subject, options: RunOptions): Promise<Results> {
  const { memo, effort = FULL, signal } = options;
  const control: Control = signal ? { signal } : {};
  const baseline = await measureBaseline(subject, control);
  const plans = planLayers(subject.layers, effort.methods);
  const runnings = runningsOf(options, subject.inputs.batch);
  return withLinalg(subject.session, async (la) => {
    const work = startWork(totalUnits(plans, effort, runnings), options);
    const bench: Bench = {
      la,
      subject,
      baseline,
      memo: prefixed(memo, subject.fingerprint.slice(0, 16)),
      control,
      effort,
    };
    const layers: LayerResults[] = [];
    for (const plan of plans) layers.push(await runLayer(bench, plan, runnings, options.machine, work));
    const stages = await runCascades(bench, layers, runnings, options.machine, work);
    work.done();
    const { answers, scores, wanted, ...known } = baseline;
    return { baseline: known, layers, stages, runnings };
  });
}

const BATCHES = [1, 32];

/** @param fixed the batch size that the model fixes; null where it is free */
function runningsOf({ cores, threads }: RunOptions, fixed: number | null): readonly Running[] {
  const all = threads ?? cores;
  return [1, ...(all > 1 ? [all] : [])].flatMap((count) =>
    (fixed === null ? BATCHES : [fixed]).map((batch) => ({ batch, threads: count })),
  );
}

/** Rough seconds of each kind of measurement: what the time left is told by. */
const UNITS = { apart: 2, point: 3, tuned: 6, speed: 1, stage: 10 };

function totalUnits(plans: readonly LayerPlan[], effort: Effort, runnings: readonly Running[]): number {
  const perLayer = plans.map(({ layer, role, methods }) =>
    methods.reduce((sum, method) => {
      const settings = expectedSettings(layer, method, effort);
      return sum + UNITS.apart + settings * unitsOf(role, method.curve, effort, runnings);
    }, 0),
  );
  const stages = effort.cascade.length * (plans.length + 1) * UNITS.stage;
  const closest = effort.cascade.length * plans.length * UNITS.point;
  return perLayer.reduce((sum, units) => sum + units, 0) + closest + stages;
}

function unitsOf(role: Role, curve: boolean, effort: Effort, runnings: readonly Running[]): number {
  const metrics = curve ? curveMetrics(role, effort).length : 1;
  const tuned = curve && role !== "dense" ? metrics : 0;
  return metrics * UNITS.point + tuned * UNITS.tuned + runnings.length * UNITS.speed;
}

/** Progress in units, told only when something is really measured. */
interface Work {
  step<T>(units: number, note: string, measure: () => Promise<T>): Promise<T>;
  skip(units: number): void;
  done(): void;
}

function startWork(total: number, control: Control): Work {
  let finished = 0;
  const tell = (note?: string) =>
    control.onProgress?.({
      phase: "measuring",
      done: Math.min(100, Math.round((100 * finished) / total)),
      total: 100,
      ...(note !== undefined && { note }),
    });
  return {
    async step(units, note, measure) {
      checkInterrupted(control);
      const begun = setTimeout(() => tell(note), 0);
      const result = await measure();
      clearTimeout(begun);
      finished += units;
      return result;
    },
    skip(units) {
      finished += units;
    },
    done() {
      finished = total;
      tell();
    },
  };
}

/** Metrics of the curves; the paper weighs nothing by Mahalanobis' distance in fully connected layers. */
const curveMetrics = (role: Role, { metrics }: Effort): readonly MetricName[] =>
  role === "other" ? [] : metrics.filter((name) => role !== "dense" || name !== "mahalanobis");

/** Those that the layer can have, the main one in front. */
async function metricsFor({ memo, effort }: Bench, open: LayerBench, role: Role): Promise<readonly MetricName[]> {
  const found: MetricName[] = [];
  const shown = curveMetrics(role, effort);
  for (const name of new Set([...effort.main, ...shown])) {
    const key = JSON.stringify(["metric", open.layer.name, name]);
    if (await memo(key, () => isPossible(open, name))) found.push(name);
  }
  const [main, ...others] = found;
  return [main!, ...others.filter((name) => shown.includes(name))];
}

const isPossible = (open: LayerBench, name: MetricName): Promise<boolean> =>
  open.metric(name).then(
    () => true,
    (error: unknown) => {
      if (error instanceof LowrankError && error.code === "unsupported") return false;
      throw error;
    },
  );

async function runLayer(
  bench: Bench,
  { layer, role, methods }: LayerPlan,
  runnings: readonly Running[],
  machine: string,
  work: Work,
): Promise<LayerResults> {
  const open = openLayer(
    bench,
    layer,
    methods.map(({ method }) => method),
  );
  const metrics = await metricsFor(bench, open, role);
  const main = metrics[0]!;
  const results: MethodResults[] = [];
  for (const plan of methods) results.push(await runMethod(bench, open, role, metrics, plan, runnings, machine, work));
  const candidates = results.flatMap((one) => one.candidates);
  return {
    ...{ layer, role, main, candidates },
    closest: await runClosest(bench, open, main, candidates, work),
    points: results.flatMap(({ points }) => points),
    tuned: results.flatMap(({ tuned }) => tuned),
    speeds: results.flatMap(({ speeds }) => speeds),
    table: results.flatMap(({ table }) => table),
    curves: results.flatMap(({ curves }) => curves),
  };
}

/** Of all methods the setting with the least error that reaches a target of the cascade. */
async function runClosest(
  bench: Bench,
  open: LayerBench,
  main: MetricName,
  candidates: readonly Candidate[],
  work: Work,
) {
  const { layer } = open;
  const closest: { target: number; point: Point }[] = [];
  for (const target of bench.effort.cascade) {
    const [setting] = settingsAt(layer, candidates, [target]);
    if (setting === undefined || layer.macs / setting.macs < target) {
      work.skip(UNITS.point);
      continue;
    }
    const method = METHODS.find(({ name }) => name === setting.method)!;
    const apart = () => open.takeApart(method, main, candidateRanks(layer, method));
    const measure = () => measurePoint(bench, open, setting, main, apart);
    const note = `${layer.name}, ${setting.method} ${setting.rank.join(", ")}, ${main}`;
    closest.push({ target, point: await work.step(UNITS.point, note, measure) });
  }
  return closest;
}

type MethodResults = Pick<LayerResults, "points" | "tuned" | "speeds" | "table" | "curves" | "candidates">;

async function runMethod(
  bench: Bench,
  open: LayerBench,
  role: Role,
  metrics: readonly MetricName[],
  plan: MethodPlan,
  runnings: readonly Running[],
  machine: string,
  work: Work,
): Promise<MethodResults> {
  const { memo, effort } = bench;
  const { method, curve } = plan;
  const { layer } = open;
  const ranks = candidateRanks(layer, method);
  const main = metrics[0]!;
  const mainly = () => open.takeApart(method, main, ranks);
  const what = `${layer.name}, ${method.name}`;
  const candidates = await work.step(UNITS.apart, what, () =>
    memo(JSON.stringify(["candidates", layer.name, method.name, main]), async () =>
      candidatesOf(layer, method, await mainly()),
    ),
  );
  const table = settingsAt(layer, candidates, effort.table);
  const curves = curve ? curveSettings(layer, candidates, role === "dense" ? effort.dense : effort.curve) : [];
  const settings = [...new Map([...table, ...curves].map((one) => [String(one.rank), one])).values()];
  const [points, tuned, speeds]: [Point[], TunedPoint[], Speed[]] = [[], [], []];
  const own = settings.map(({ rank }) => rank);
  for (const setting of settings) {
    const label = `${what} ${setting.rank.join(", ")}`;
    for (const metric of curves.includes(setting) ? metrics : [main]) {
      const apart = (): Promise<Decomposition> => (metric === main ? mainly() : open.takeApart(method, metric, own));
      const note = `${label}, ${metric}`;
      points.push(await work.step(UNITS.point, note, () => measurePoint(bench, open, setting, metric, apart)));
      const { tuning } = bench.subject;
      if (!curves.includes(setting) || role === "dense" || tuning === null) continue;
      const tune = () => measureTuned(bench, open, setting, metric, apart, tuning);
      tuned.push(await work.step(UNITS.tuned, `${note}, tuning`, tune));
    }
    const factors = async () => (await mainly()).cut(setting.rank);
    for (const running of runnings) {
      const time = () => measureSpeed(bench, layer, setting, running, machine, factors);
      speeds.push(await work.step(UNITS.speed, `${label}, timing`, time));
    }
  }
  work.skip((expectedSettings(layer, plan, effort) - settings.length) * unitsOf(role, curve, effort, runnings));
  return { points, tuned, speeds, table, curves, candidates };
}

/** What a layer takes in the cascade: where it alone would lose too much, the most of a lesser target; nothing where there is none. */
function linkAt({ layer, closest }: LayerResults, wanted: number): readonly Link[] {
  const bearable = closest.filter(({ target, point }) => target <= wanted && point.refit.drop <= ENOUGH);
  return bearable.slice(-1).map(({ point: { setting, metric } }) => ({ layer: layer.name, setting, metric }));
}

async function runCascades(
  bench: Bench,
  layers: readonly LayerResults[],
  runnings: readonly Running[],
  machine: string,
  work: Work,
): Promise<readonly Stage[]> {
  const stages: Stage[] = [];
  let before = "[]";
  for (const target of bench.effort.cascade) {
    const links = layers.flatMap((one) => linkAt(one, target));
    const factors = openLinks(bench);
    const what = `first to last layer at ${target} times fewer MACs`;
    work.skip((layers.length - links.length) * UNITS.stage);
    // No layer bears more than at the target before, or any at all.
    if (JSON.stringify(links) === before) {
      work.skip((links.length + 1) * UNITS.stage);
      continue;
    }
    before = JSON.stringify(links);
    stages.push(...(await work.step(UNITS.stage, what, () => measureRefits(bench, target, links, factors))));
    const { tuning } = bench.subject;
    for (let depth = 1; tuning !== null && depth <= links.length; depth++) {
      const timed = depth === links.length ? runnings : [];
      const measure = () => measureTunedStage(bench, target, links.slice(0, depth), timed, machine, tuning, factors);
      stages.push(await work.step(UNITS.stage, `${what}, tuning, ${depth} of ${links.length}`, measure));
    }
  }
  return stages;
}

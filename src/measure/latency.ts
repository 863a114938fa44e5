// Latency of models run in turn: one run each, round by round, so that whatever the machine does hits all of them alike, and
// the ratio of a round's times tells more than either time. Short runs are repeated until a timer can see them.

import { givenOut } from "../answers/behind.ts";
import { LowrankError } from "../errors.ts";
import { toHalves } from "../graph/half.ts";
import type { Dim, Model, ValueInfo } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { gaussian, random } from "../linalg/random.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type NdArray, openSession, type Session } from "../runtime/session.ts";
import { median, medianInterval, quantile } from "./statistics.ts";

export interface Contender {
  readonly name: string;
  readonly model: Model;
}

export interface LatencyOptions extends Control {
  /** What a free first dimension becomes; by default 1. */
  readonly batch?: number;
  readonly threads?: number | undefined;
  readonly provider?: string | undefined;
  /** Shapes of inputs whose other dimensions are free. */
  readonly inputShapes?: Readonly<Record<string, readonly Dim[]>>;
  /** Seconds to spend on each model at most; by default 3. */
  readonly seconds?: number;
  /**
   * Looks for what is fast: contenders of one name are forms of the same, and one that is clearly slower than another form, or than the
   * first contender, is not measured to the end.
   */
  readonly race?: boolean;
  /** A clock in milliseconds; by default the platform's. */
  readonly now?: () => number;
}

export interface Latency {
  readonly name: string;
  /** Milliseconds of one run of the batch. */
  readonly medianMs: number;
  readonly p10Ms: number;
  readonly p90Ms: number;
  /** How many times faster than the first model: the median over rounds of the two times' ratio. */
  readonly ratioToFirst: {
    readonly speedup: number;
    readonly ci95: readonly [number, number];
    /** Whether the interval leaves no doubt which is faster. */
    readonly decided: boolean;
  };
}

/** A sample is repeated until it takes this many milliseconds. */
const SAMPLE_MS = 2;
const WARM_UP_RUNS = 3;
const LEAST_ROUNDS = 15;
/** The measurement stops early once every ratio's interval is this narrow, relative to the ratio. */
const NARROW = 0.02;

/** @throws LowrankError `bad-option` where an input's shape is not known, `runtime`, `interrupted` */
export async function compareLatency(
  contenders: readonly Contender[],
  options: LatencyOptions,
): Promise<readonly Latency[]> {
  const { threads, provider, seconds = 3, race = false, now = () => performance.now() } = options;
  const runners: Runner[] = [];
  try {
    for (const { name, model } of contenders) {
      const feeds = randomFeeds(model, options);
      const session = await openSession(givenOut(model), { threads, provider });
      runners.push({ name, session, feeds, repeats: 1, times: [] });
    }
    for (const runner of runners) await warmUp(runner, now);
    let racing: readonly Runner[] = runners;
    const start = now();
    let budget = 1000 * seconds * runners.length;
    for (let round = 0; ; round++) {
      checkInterrupted(options);
      // Each round starts with the next model, so that none is always the first after a pause.
      for (let i = 0; i < racing.length; i++) await takeSample(racing[(round + i) % racing.length]!, now);
      if (race && round >= RACE_ROUNDS && round < LEAST_ROUNDS) {
        const slow = hopeless(racing);
        // What they were to have of the time, and have not taken.
        budget -= slow.size * Math.max(0, (budget - (now() - start)) / racing.length);
        racing = racing.filter((runner) => !slow.has(runner));
      }
      const left = budget - (now() - start);
      options.onProgress?.({
        phase: "latency",
        done: Math.round(100 * Math.min(1, 1 - left / Math.max(1, budget))),
        total: 100,
      });
      if (
        round + 1 >= LEAST_ROUNDS &&
        (left <= 0 || (round % 8 === 0 && racing.every((each) => isNarrow(each, racing[0]!))))
      )
        break;
    }
    options.onProgress?.({ phase: "latency", done: 100, total: 100 });
    return runners.map((runner, i) => summarise(contenders[i]!.name, runner, runners[0]!));
  } finally {
    for (const { session } of runners) await session.dispose();
  }
}

interface Runner {
  readonly name: string;
  readonly session: Session;
  readonly feeds: Readonly<Record<string, NdArray>>;
  repeats: number;
  /** Milliseconds of one run, a round each. */
  readonly times: number[];
}

async function warmUp(runner: Runner, now: () => number): Promise<void> {
  let fastest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < WARM_UP_RUNS; i++) {
    const start = now();
    await runner.session.run(runner.feeds);
    fastest = Math.min(fastest, now() - start);
  }
  runner.repeats = Math.max(1, Math.min(200, Math.ceil(SAMPLE_MS / Math.max(fastest, 0.001))));
}

async function takeSample(runner: Runner, now: () => number): Promise<void> {
  const start = now();
  for (let i = 0; i < runner.repeats; i++) await runner.session.run(runner.feeds);
  runner.times.push((now() - start) / runner.repeats);
}

/** From so many rounds on, and by so much, a contender of a race is told to be slower. */
const RACE_ROUNDS = 4;
const CLEARLY = 0.85;

/** Those that are clearly slower than another of their name, or than the first, which itself stays. */
function hopeless([first, ...others]: readonly Runner[]): ReadonlySet<Runner> {
  const speed = new Map(others.map((runner) => [runner, median(ratios(runner, first!))]));
  const best = new Map<string, number>();
  for (const [{ name }, ratio] of speed) best.set(name, Math.max(best.get(name) ?? 1, ratio));
  return new Set(others.filter((runner) => speed.get(runner)! < CLEARLY * best.get(runner.name)!));
}

const ratios = (runner: Runner, first: Runner) => runner.times.map((time, i) => first.times[i]! / time);

function isNarrow(runner: Runner, first: Runner): boolean {
  if (runner === first) return true;
  const values = ratios(runner, first);
  const [low, high] = medianInterval(values);
  return high - low < NARROW * median(values);
}

function summarise(name: string, runner: Runner, first: Runner): Latency {
  const values = ratios(runner, first);
  const ci95 = medianInterval(values);
  return {
    name,
    medianMs: median(runner.times),
    p10Ms: quantile(runner.times, 0.1),
    p90Ms: quantile(runner.times, 0.9),
    ratioToFirst: { speedup: median(values), ci95, decided: ci95[0] > 1 || ci95[1] < 1 },
  };
}

/** On an idle machine nine of ten runs take no more than this many times as long as one of ten. */
const IDLE_SPREAD = 1.5;

/**
 * Whether the machine was busy with other work while times were taken: they vary a lot, or the medians say otherwise than the ratios of
 * runs in turn, which is what counts.
 */
export function wasBusy(latencies: readonly Latency[]): boolean {
  const [first, ...others] = latencies;
  const contradicts = ({ medianMs, ratioToFirst: { speedup, decided } }: Latency) =>
    decided && Math.sign(first!.medianMs - medianMs) !== Math.sign(speedup - 1);
  return latencies.some(({ p10Ms, p90Ms }) => p90Ms > IDLE_SPREAD * p10Ms) || others.some(contradicts);
}

/** Seeded inputs: Gaussian numbers for floats, zeros for integers. */
function randomFeeds({ graph }: Model, { batch = 1, inputShapes = {} }: LatencyOptions): Record<string, NdArray> {
  const free = graph.inputs.filter(({ name }) => !graph.initializers.has(name));
  return Object.fromEntries(
    free.map((input, i) => [input.name, randomInput(input, batch, inputShapes[input.name], i)]),
  );
}

/** Different numbers of an input; more of it repeats them. */
const DIFFERENT = 2 ** 14;

function gaussians(count: number, seed: number): Float32Array<ArrayBuffer> {
  const rng = random(seed);
  const out = new Float32Array(count);
  for (let i = 0; i < Math.min(count, DIFFERENT); i++) out[i] = gaussian(rng);
  for (let filled = DIFFERENT; filled < count; filled *= 2) out.copyWithin(filled, 0, Math.min(filled, count - filled));
  return out;
}

function randomInput(input: ValueInfo, batch: number, given: readonly Dim[] | undefined, seed: number): NdArray {
  const shape = given ?? input.shape;
  const dims = (shape ?? [null]).map((dim, axis) => {
    if (typeof dim === "number") return dim;
    if (axis === 0 && shape !== null) return batch;
    const what = `the input ${input.name} has the shape [${shape?.map((each) => each ?? "?")}]`;
    throw new LowrankError("bad-option", `${what}: give --size to say how large it is`);
  });
  const count = elementCount(dims);
  switch (input.type) {
    case "float32":
      return { type: "float32", dims, data: gaussians(count, seed) };
    case "float64":
      return { type: "float64", dims, data: Float64Array.from(gaussians(count, seed)) };
    case "uint8":
    case "bool":
      return { type: input.type, dims, data: new Uint8Array(count) };
    case "int32":
      return { type: "int32", dims, data: new Int32Array(count) };
    case "int64":
      return { type: "int64", dims, data: new BigInt64Array(count) };
    case "float16":
      return { type: "float16", dims, data: toHalves(gaussians(count, seed)) };
    default:
      throw new LowrankError("unsupported", `the input ${input.name} is ${input.type}, which cannot be timed`);
  }
}

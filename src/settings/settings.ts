// The options of a compression, once: checked, every default decided, as one complete record that all code below compress.ts takes.

import type { KindName } from "../answers/head.ts";
import type { Asked } from "../answers/recognise.ts";
import type { Method } from "../approximate/method.ts";
import { METHODS, methodsNamed } from "../approximate/methods.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { deadlineIn } from "../deadline.ts";
import { LowrankError } from "../errors.ts";
import type { LoopFolder } from "../finetune/layerwise.ts";
import type { Model } from "../graph/model.ts";
import type { ScoreFunction } from "../measure/custom-score.ts";
import { type ByteStore, type Memo, memoryMemo, noStore } from "../memo.ts";
import type { MetricName } from "../metric/metric.ts";
import { type Control, controlOf } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { Goals } from "../search/promise.ts";
import { SLIM } from "../slim/scored.ts";
import { OPTIONS, type OptionName, type PlainOptions } from "./options.ts";

/** A written model, read again: this is what gets measured. */
export interface Reopened {
  readonly model: Model;
  /** Bytes of the file or files that hold it. */
  readonly bytes: number;
}

/** What `compress` can be asked for: the table's options (settings/options.ts), and what is no plain value. */
export interface CompressOptions extends PlainOptions, Control {
  /** Images or arrays like those the model was trained on; labels are for the accuracy, and for fine-tuning. */
  readonly data?: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** A plan to apply in place of a choice by goals: the text that formatPlan makes. */
  readonly plan?: string;
  /** A score of your own for `maxDrop` and the report, in place of the answers'. */
  readonly score?: ScoreFunction;
  /** Keeps what an interrupted run needs to go on. */
  readonly work?: LoopFolder;
  /** Keeps what a search finds out; by default in memory only. */
  readonly memo?: Memo;
  /** Keeps statistics of the layers, hundreds of megabytes of a large network; by default they are made again where `memo` goes on. */
  readonly store?: ByteStore;
  /** Seconds to spend at most on timing each of the two models; by default 3. */
  readonly seconds?: number;
  /** Bytes of the file or files that held the model, where `source` is not those bytes. */
  readonly inputBytes?: number;
  /** Names for the report. */
  readonly names?: { readonly input: string; readonly output: string };
  /** Writes the result where it can be read back, and reads it back; by default through bytes in memory. */
  readonly reopen?: (model: Model) => Promise<Reopened>;
}

export interface TuningSettings {
  readonly epochs: number;
  /** Share of them for all weights together at the end. */
  readonly joint: number;
  readonly labels: boolean;
}

/** Everything that a run goes by. */
export interface Settings {
  readonly goals: Goals;
  /** Whether a goal is a matter of time, so that candidates and forms are timed. */
  readonly timed: boolean;
  /** What the user says the outputs to be. */
  readonly asked: Asked;
  readonly score: ScoreFunction | null;
  readonly data: Dataset | null;
  readonly preprocess: PreprocessOptions;
  /** Images to use at most; null: by the goals. */
  readonly images: number | null;
  readonly seed: number;
  readonly methods: readonly Method[];
  /** Whether channels may be taken out. */
  readonly slim: boolean;
  readonly metric: MetricName;
  /** Whether the metric was asked for, so that it is told where another had to serve. */
  readonly metricAsked: boolean;
  readonly confusable: number;
  readonly plan: string | null;
  readonly tuning: TuningSettings | null;
  readonly session: SessionOptions;
  /** How the result will be used, and how long its latency is measured. */
  readonly use: { readonly threads: number | null; readonly batch: number; readonly seconds: number };
  readonly memo: Memo;
  readonly store: ByteStore;
  readonly work: LoopFolder | null;
  readonly inputBytes: number | null;
  readonly names: { readonly input: string; readonly output: string | null };
  readonly reopen: ((model: Model) => Promise<Reopened>) | null;
  readonly control: Control;
  /** Minutes that a search may take; null: as many as it takes. */
  readonly minutes: number | null;
  /** What was left out for want of time, as it comes to be. */
  readonly missed: readonly string[];
}

/** The name that stands for every method there is, `slim` among them. */
export const ALL = "all";

/** What is decided where an option is not given. */
const DEFAULTS = {
  seed: 0,
  confusable: 5,
  joint: 0.5,
  batch: 1,
  seconds: 3,
  withImages: "kfac",
  without: "frobenius",
} as const;

/** Share of a bounded time that is for timing each network at the end. */
const SECONDS_SHARE = 0.03;

/** With the moment by which all shall be done, where there is one; what is left out for it is added to `missed`. */
function boundedControl(options: CompressOptions, missed: string[]): Control {
  const control = controlOf(options);
  if (options.minutes === undefined) return control;
  const deadline = options.deadline ?? deadlineIn(options.minutes, () => {});
  return { ...control, deadline: { ...deadline, onMissed: (what) => void missed.push(what) } };
}

/** Threads and provider as the result will be used with. */
export const sessionInUse = ({ session, use }: Settings): SessionOptions => ({
  ...session,
  threads: use.threads ?? undefined,
});

/** @throws LowrankError `bad-option` for options that make no sense, alone or together; it names them in backticks */
export function settingsOf(options: CompressOptions): Settings {
  checkValues(options);
  checkTogether(options);
  const { maxDrop, speed, macs, params, data, metric, provider, finetune } = options;
  const goals = given({ maxDrop, speed, macs, params });
  const missed: string[] = [];
  const { minutes } = options;
  const factoring = options.methods?.filter((name) => name !== SLIM && name !== ALL);
  const named = methodsNamed(factoring, [SLIM, ALL]);
  return {
    goals,
    timed: speed !== undefined || maxDrop !== undefined,
    asked: askedOf(options.answers, options.answersOutput),
    score: options.score ?? null,
    data: data ?? null,
    preprocess: options.preprocess ?? {},
    images: options.images ?? null,
    seed: options.seed ?? DEFAULTS.seed,
    methods: options.methods?.includes(ALL) ? METHODS : named,
    slim: options.methods?.some((name) => name === SLIM || name === ALL) ?? false,
    metric: data === undefined ? DEFAULTS.without : (metric ?? DEFAULTS.withImages),
    metricAsked: metric !== undefined,
    confusable: options.confusable ?? DEFAULTS.confusable,
    plan: options.plan ?? null,
    tuning:
      finetune === undefined
        ? null
        : { epochs: finetune, joint: options.joint ?? DEFAULTS.joint, labels: options.labels ?? true },
    session: provider === undefined ? {} : { provider },
    use: {
      threads: options.threads ?? null,
      batch: options.batch ?? DEFAULTS.batch,
      seconds:
        options.seconds ?? Math.min(DEFAULTS.seconds, SECONDS_SHARE * 60 * (minutes ?? Number.POSITIVE_INFINITY)),
    },
    memo: options.memo ?? memoryMemo(),
    store: options.store ?? noStore,
    work: options.work ?? null,
    inputBytes: options.inputBytes ?? null,
    names: options.names ?? { input: "", output: null },
    reopen: options.reopen ?? null,
    control: boundedControl(options, missed),
    minutes: minutes ?? null,
    missed,
  };
}

const askedOf = (kind: KindName | undefined, outputs: readonly string[] | undefined): Asked => ({
  kind: kind ?? null,
  outputs: outputs ?? null,
});

/** Without what is undefined. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

function checkValues(options: CompressOptions): void {
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const value = options[name];
    const { kind } = OPTIONS[name];
    if (value !== undefined && !kind.valid(value)) throw bad(`\`${name}\` must be ${kind.expects}; got ${value}`);
  }
}

function checkTogether(options: CompressOptions): void {
  const { macs, params, speed, maxDrop, plan, metric, data, finetune, score } = options;
  if ([macs, params, speed, maxDrop, plan].every((goal) => goal === undefined)) {
    throw bad("say what you want: `maxDrop` 1, `speed` 2, `macs` 0.5, `params` 0.5 or a `plan`");
  }
  const other = plan !== undefined ? "plan" : finetune !== undefined ? "finetune" : null;
  if (options.minutes !== undefined && other !== null) {
    throw bad(`\`minutes\` bounds a search, and does not go with \`${other}\``);
  }
  if (data !== undefined) return;
  if (maxDrop !== undefined) throw bad("a promised drop needs images to measure it on: give `data`");
  if (metric !== undefined && metric !== "frobenius") throw bad(`the ${metric} metric needs images: give \`data\``);
  if (finetune !== undefined) throw bad("fine-tuning needs images: give `data`");
  if (score !== undefined) throw bad("a score needs images to be taken on: give `data`");
}

const bad = (message: string) => new LowrankError("bad-option", message);

// Every option of `compress` that is a plain value, once: its name in code, its flag, what it may be, what it does. The command line's flags,
// --help and the library's checks come from this table; a test holds docs/cli.md to it.

import { KIND_NAMES } from "../answers/head.ts";
import { METHOD_NAMES } from "../approximate/methods.ts";
import { METRIC_NAMES } from "../metric/metric.ts";
import { SLIM } from "../slim/scored.ts";
import {
  NAMES,
  oneOf,
  PART,
  POINTS,
  POSITIVE,
  SHARE,
  TEXT,
  TIMES,
  type ValueKind,
  whole,
  YES_OR_NO,
} from "./values.ts";

export interface OptionSpec<T> {
  /** As the command line has it, with the name of its value. */
  readonly flag: string;
  readonly kind: ValueKind<T>;
  /** What it does, in one line of --help; the default stands at its end. */
  readonly help: string;
  /** What docs/cli.md says, where that is more than the help. */
  readonly more?: string;
}

const spec = <T>(flag: string, kind: ValueKind<T>, help: string, more?: string): OptionSpec<T> => ({
  flag,
  kind,
  help,
  ...(more !== undefined && { more }),
});

/** Past any machine; ONNX Runtime would start them all. */
const MOST_THREADS = 1024;
/** Past what any memory holds, unless the images are tiny. */
const MOST_IMAGES = 65_536;

export const OPTIONS = {
  maxDrop: spec(
    "--max-drop <points>",
    POINTS,
    "lose at most so many points of the answers (accuracy where there are labels); as fast as can be",
    "Points are hundredths: of top-1 where there are labels, of --score where one is given, else of the original's answers that are kept, in the way of their kind. Needs `--data`. `1` and `1%` are the same",
  ),
  speed: spec(
    "--speed <times>",
    TIMES,
    "be at least so many times as fast, measured",
    "1 or more. `2` and `2x` are the same",
  ),
  macs: spec("--macs <share>", SHARE, "at most this share of the original's MACs, such as 0.5 or 50%"),
  params: spec("--params <share>", SHARE, "at most this share of the original's parameters"),
  answers: spec(
    "--answers <kind>",
    oneOf(KIND_NAMES),
    `what the outputs mean: ${KIND_NAMES.join(", ")} (default: recognised)`,
    "Needed where the report says that the reading is not sure, and wrong",
  ),
  answersOutput: spec(
    "--answers-output <names>",
    NAMES,
    "the outputs that count (default: all that hold numbers)",
    "Names between commas. (`--output` is the file that is written)",
  ),
  methods: spec(
    "--methods <a,b>",
    NAMES,
    `methods that may be used: ${METHOD_NAMES.join(", ")} (the default), ${SLIM}; all: these and ${SLIM}`,
  ),
  metric: spec("--metric <name>", oneOf(METRIC_NAMES), "what close means (default: kfac with images, else frobenius)"),
  confusable: spec(
    "--confusable <h>",
    whole(1),
    "for mahalanobis: most probable wrong labels an image (default: 5)",
    "Where the answers are no classes: random directions of the divergence's curvature",
  ),
  images: spec(
    "--images <n>",
    whole(1),
    "how many of DATA to use, a seeded sample (default: 1024, with --max-drop 6144 to 20480, to tune all)",
  ),
  minutes: spec(
    "--minutes <n>",
    POSITIVE,
    "take about so long; what is most useful is done first, the notes say what was left out",
  ),
  seed: spec("--seed <n>", whole(0), "the same seed gives the same file (default: 0)"),
  finetune: spec(
    "--finetune <epochs>",
    POSITIVE,
    "tune what is above each layer, then all weights: epochs over the images to spend at most, Ctrl-C saves the work",
  ),
  joint: spec("--joint <share>", PART, "share of these epochs for all weights at the end, 0 to 1 (default: 0.5)"),
  labels: spec("--no-labels", YES_OR_NO, "tune towards the original's answers even where there are labels"),
  threads: spec("--threads <n>", whole(1, MOST_THREADS), "threads ONNX Runtime may use (default: one a core)"),
  batch: spec("--batch <n>", whole(1, MOST_IMAGES), "images at a time when latency is measured (default: 1)"),
  provider: spec("--provider <name>", TEXT, "ONNX Runtime's execution provider (default: cpu)"),
} as const satisfies Readonly<Record<string, OptionSpec<never> | OptionSpec<unknown>>>;

export type OptionName = keyof typeof OPTIONS;

/** What an option of the table holds. */
export type ValueOf<S> = S extends OptionSpec<infer T> ? T : never;

/** The options of the table, as the library takes them. */
export type PlainOptions = { readonly [K in OptionName]?: ValueOf<(typeof OPTIONS)[K]> };

/** The flag of an option, without the name of its value. */
export const flagOf = (name: OptionName): string => OPTIONS[name].flag.split(" ")[0]!;

/** Flags of options that are no plain values. */
const OTHER_FLAGS: Readonly<Record<string, string>> = { data: "--data", plan: "--plan", score: "--score" };

/** The same text with the options that it names in backticks as flags: what the command line says of a library's error. */
export function withFlags(text: string): string {
  return text.replace(/`(\w+)`/g, (whole, name: string) => {
    if (Object.hasOwn(OPTIONS, name)) return flagOf(name as OptionName);
    return OTHER_FLAGS[name] ?? whole;
  });
}

// What a run found out on its way, kept for a page that shows it (report/html.ts): plain data of what the search looked at, of the
// network as it was written, and images that it answers otherwise than the original.

import { runShapes, samplesOf } from "../analyze/batch.ts";
import { imageInput } from "../analyze/input.ts";
import type { Rank } from "../approximate/method.ts";
import type { Evaluation, ModelEvaluation } from "../measure/accuracy.ts";
import type {
  CandidateDetails,
  ChangedAnswers,
  ChangedImage,
  CompressDetails,
  LayerDetails,
} from "../report/html-details.ts";
import { stagesFinder } from "../report/html-stages.ts";
import type { Candidate } from "../search/candidates.ts";
import { type Plan, plainRank } from "../search/plan.ts";
import type { ScoredLayer } from "../search/score.ts";
import type { Outcome, Work } from "./apply-plan.ts";
import type { Images } from "./images.ts";
import type { Prepared } from "./prepare.ts";
import type { Searched } from "./search.ts";

/** @param searched null where a plan was given */
export async function detailsOf(
  { prepared, images, scored }: Work,
  { plan, written, measured }: Outcome,
  searched: Searched | null,
): Promise<CompressDetails> {
  const find = stagesFinder(prepared.model, written.model, runShapes(prepared.inputs), samplesOf(prepared.inputs));
  const sensitivities = searched !== null && images.calibration !== null;
  const layers = scored.map((one): LayerDetails => {
    const { name } = one.layer;
    return {
      name,
      ms: searched?.pool.times?.layers.get(one.layer) ?? null,
      candidates: one.candidates.map((each) => candidateDetails(each, one, plan, searched, sensitivities)),
      stages: plan.layers.has(name) ? find(one.layer) : null,
    };
  });
  const { compared } = measured;
  return { layers, changed: compared === null ? null : await changedAnswers(prepared, images, compared.evaluation) };
}

function candidateDetails(
  candidate: Candidate,
  { layer }: ScoredLayer,
  plan: Plan,
  searched: Searched | null,
  sensitivities: boolean,
): CandidateDetails {
  const { method, rank, ...costs } = candidate;
  const choice = plan.layers.get(layer.name);
  const sensitivity = sensitivities ? searched?.pool.sensitivityOf(candidate) : undefined;
  return {
    ...{ method, rank: plainRank(rank), ...costs },
    sensitivity: sensitivity ?? null,
    ms: searched?.pool.times?.candidates.get(candidate) ?? null,
    chosen: choice?.method === method && isSame(choice.rank, rank),
  };
}

const isSame = (a: Rank, b: Rank): boolean => `${a}` === `${b}`;

/** Images that are shown at most. */
const EXAMPLES = 12;

async function changedAnswers(
  prepared: Prepared,
  { data }: Images,
  { indices, models }: Evaluation,
): Promise<ChangedAnswers | null> {
  const [before, after] = models.map(({ predictions }: ModelEvaluation) => predictions);
  if (!before || !after || data === null) return null;
  const changed = [...indices.keys()].filter((i) => before[i] !== after[i]);
  const label = (i: number) => data.labels?.[indices[i]!] ?? null;
  const kinds = {
    lost: changed.filter((i) => label(i) === before[i]),
    won: changed.filter((i) => label(i) === after[i]),
  };
  const others = changed.filter((i) => !kinds.lost.includes(i) && !kinds.won.includes(i));
  const name = classNames(prepared, data.classes);
  const examples: ChangedImage[] = [];
  const wanted = imageInput(prepared.inputs)?.preprocess ?? null;
  for (const i of wanted === null ? [] : inTurn([kinds.lost, kinds.won, others]).slice(0, EXAMPLES)) {
    // It was read once already; should it be gone by now, there is one example less.
    const pixels = await data.load(indices[i]!, wanted!).catch(() => null);
    if (pixels === null) continue;
    const truth = label(i);
    const answers = { before: name(before[i]!), after: name(after[i]!), label: truth === null ? null : name(truth) };
    examples.push({ name: data.name(indices[i]!), pixels, ...answers });
  }
  const labelled = data.labels !== null;
  return {
    ...{ compared: indices.length, changed: changed.length, examples },
    ...{ lost: labelled ? kinds.lost.length : null, won: labelled ? kinds.won.length : null },
  };
}

/** The first of each list, then the second of each, and so on. */
function inTurn(lists: readonly (readonly number[])[]): readonly number[] {
  const longest = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}

/** Names of class folders where they are as many as the model's classes, else numbers. */
function classNames({ original }: Prepared, classes: readonly string[] | null): (label: number) => string {
  const scores = original.graph.outputs[0]?.shape?.at(-1);
  const named = classes !== null && (typeof scores !== "number" || scores === classes.length);
  return (label) => (named ? (classes[label] ?? `class ${label}`) : `class ${label}`);
}

// What the browser test runs, in the page and in Node alike.

import { compress, formatPlan } from "../../src/index.ts";
import { matrix } from "../../src/linalg/matrix.ts";
import { matmul, withLinalg } from "../../src/linalg/products.ts";
import { random } from "../../src/linalg/random.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

/** Compresses a small network and says the plan, what the result costs and what it answers. */
export async function compressSmall() {
  const options = { data: pictures(64), preprocess: { preset: "unit" }, macs: 0.6, seed: 3, seconds: 0.05 };
  const { model, plan, report } = await compress(smallClassifier(), options);
  const image = float32([2, 3, 16, 16], normal(2 * 768, 4));
  const { logits } = await runOnce(model, { image });
  const answers = Array.from(logits!.data as Float32Array);
  return { plan: formatPlan(plan), macs: report.macs.after, agreement: report.agreement, answers };
}

/** A product in float64, as plain numbers. */
export function product(): Promise<number[]> {
  const rng = random(1);
  const a = matrix(20, 30, Float64Array.from({ length: 600 }, rng));
  return withLinalg({}, async (la) => Array.from((await matmul(la, a, a, { transB: true })).data));
}

/** The code of the error that compressing nonsense throws. */
export async function codeOfNonsense(): Promise<string> {
  try {
    await compress(new Uint8Array([1, 2, 3]), { macs: 0.5 });
    return "none";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

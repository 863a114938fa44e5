// What the browser test of training runs, in the page and in Node alike.

import { finetune } from "../../src/index.ts";
import { smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

/** The loss of each of six steps on the same images, and the loss before them on images kept apart. */
export async function losses(optimiser: "sgd" | "adamw"): Promise<{ losses: number[]; start: number }> {
  const options = { data: pictures(40), batch: 36, epochs: 6, optimiser, preprocess: { preset: "unit" }, threads: 1 };
  const { report } = await finetune(smallClassifier(), { ...options, augment: { flip: true }, rate: 0.003 });
  return { losses: report.epochs.map(({ loss }) => loss!), start: report.start.validationLoss };
}

/** The code of the error that a number of epochs of 0 gives. */
export async function codeOfNoEpochs(): Promise<string> {
  const refused = finetune(smallClassifier(), { data: pictures(40), epochs: 0, preprocess: { preset: "unit" } });
  return refused.then(
    () => "none",
    (error) => (error as { code: string }).code,
  );
}

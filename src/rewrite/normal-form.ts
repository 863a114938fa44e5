// A model as the rest understands it, whatever exporter made it: no functions, no float16, no constants among the inputs,
// weights that are constants and not computed from some. What is made of it can be brought back to the model's own types.

import { inlineFunctions } from "../graph/inline.ts";
import type { Model } from "../graph/model.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { widen } from "./float16.ts";
import { foldConstants } from "./fold-constants.ts";

export interface NormalForm {
  /** Gives the same answers; the same object where nothing was to be done. */
  readonly model: Model;
  /** Gives a model that was made from this one the original's element types back. */
  readonly restore: (changed: Model) => Model;
  /** What was done, one sentence each. */
  readonly notes: readonly string[];
}

/** @throws LowrankError `unsupported` or `bad-model` where functions cannot be inlined, `runtime` where constants cannot be computed */
export async function normalForm(original: Model, session: SessionOptions = {}): Promise<NormalForm> {
  const inlined = inlineFunctions(withoutConstantInputs(original));
  const { model: wide, narrow } = widen(inlined);
  const model = await foldConstants(wide, session);
  const notes = [
    ...(inlined.functions === original.functions ? [] : ["the model's functions were inlined"]),
    ...(wide === inlined ? [] : ["the model is float16: worked on as float32, its types are kept"]),
    ...(model === wide ? [] : ["weights that the model computed from constants were made constants"]),
  ];
  return { model, restore: narrow, notes };
}

/** From this IR version on initialisers need not be graph inputs; before it, all that are constants had to be. */
const CONSTANTS_APART = 4;

/** A model of before IR version 4 as one of version 4, with no initialiser among its inputs. */
function withoutConstantInputs(model: Model): Model {
  if (model.irVersion >= CONSTANTS_APART) return model;
  const inputs = model.graph.inputs.filter(({ name }) => !model.graph.initializers.has(name));
  return { ...model, irVersion: CONSTANTS_APART, graph: { ...model.graph, inputs } };
}

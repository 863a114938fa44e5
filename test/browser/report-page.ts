// What the browser test of the report's page runs, in the page and in Node alike.

import { compress, reportHtml } from "../../src/index.ts";
import { smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

/** The page of a network that has lost most of what it knew. */
export async function pageOfRuin(): Promise<string> {
  const plan = JSON.stringify({ version: 1, layers: { fc1: { method: "svd", rank: 1 } } });
  const options = { data: pictures(32), preprocess: { preset: "unit" }, plan, seed: 3, seconds: 0.02 };
  return reportHtml(await compress(smallClassifier(), options));
}

// What is found out of the layers is kept under a name of its own, which says all that it depends on.

import { digestArrays } from "../data/dataset.ts";
import { digest, prefixed, prefixedStore } from "../memo.ts";
import { digestModel } from "../onnx/digest.ts";
import type { Settings } from "../settings/settings.ts";
import type { Work } from "./apply-plan.ts";

type Given = Pick<Work, "prepared" | "images" | "answers" | "settings">;

/** The goals are not among it, so that another goal finds again what was found; a plan is, since with one fewer layers are looked at. */
async function fingerprintOf({ prepared, images, answers, settings }: Given): Promise<string> {
  const { methods, slim, metric, confusable, seed, use, session, preprocess, work, minutes, plan } = settings;
  const names = methods.map(({ name }) => name);
  const how = [
    names,
    slim,
    metric,
    confusable,
    seed,
    use.threads,
    use.batch,
    session.provider,
    preprocess,
    minutes,
    plan,
  ];
  const given = [...how, work?.version];
  const { data, fitted, choice } = images;
  const used = data === null ? [] : Array.from([...fitted, ...(choice ?? [])], (index) => data.name(index));
  const arrays = data === null ? "" : await digestArrays(data);
  return digest([
    await digestModel(prepared.original),
    arrays,
    JSON.stringify([given, answers?.heads, fitted.length, used]),
  ]);
}

/** The settings with a memo and a store of this run's own. */
export async function keeping(run: Given): Promise<Settings> {
  const { memo, store } = run.settings;
  const name = await fingerprintOf(run);
  return { ...run.settings, memo: prefixed(memo, name), store: prefixedStore(store, name) };
}

// Checks damaged files from one seed on, in a process of its own: tells the number of each before it begins, and what was wrong with it.

import { casesOf } from "./cases.ts";

export type Told = { readonly at: number; readonly mb: number } | { readonly failed: number; readonly why: string };

const tell = (message: Told): void => void process.send!(message);

const from = Number(process.argv[2]);
const caseOf = casesOf();
for (let at = from; ; at++) {
  tell({ at, mb: process.resourceUsage().maxRSS / 1024 });
  await caseOf(at)
    .check()
    .catch((error) => tell({ failed: at, why: String(error?.stack ?? error) }));
}

// A score for a network that gives one number an image: for `lowrank compress --score examples/score-regression.mjs`. The true numbers stand
// in a table named by the environment variable TARGETS, one line an image: file name (as `class/a.jpg` where DATA has folders), comma, number.
// An error of TOLERANCE costs everything.

import { readFileSync } from "node:fs";

const TOLERANCE = Number(process.env.TOLERANCE ?? 10);

const file = process.env.TARGETS;
if (file === undefined) throw new Error("name the table of true numbers: TARGETS=ages.csv");
const targets = new Map(
  readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.includes(","))
    .map((line) => [line.slice(0, line.lastIndexOf(",")), Number(line.slice(line.lastIndexOf(",") + 1))]),
);

export default async function score(network, batches) {
  const scores = [];
  for await (const { inputs, names } of batches) {
    const [output] = Object.values(await network(inputs));
    const each = output.data.length / names.length;
    for (const [i, name] of names.entries()) {
      if (!targets.has(name)) throw new Error(`${file} has no line for ${name}`);
      scores.push(Math.max(0, 1 - Math.abs(Number(output.data[i * each]) - targets.get(name)) / TOLERANCE));
    }
  }
  return scores;
}

// Every rule against PyTorch: test/golden/autodiff/make.py writes the cases. Each runs at several operator sets, before and
// after the changes that touch it or what gradients are written in.

import { expect, test } from "vitest";
import { GRADIENT_RULES } from "../../src/autodiff/rules.ts";
import type { NdArray } from "../../src/runtime/session.ts";
import { type OneNode, runGradient } from "../support/check-gradient.ts";
import {
  attribute,
  constant,
  decode,
  type Form,
  type GoldenCase,
  readGolden,
  relativeError,
  uniform,
} from "./golden.ts";

/** Of the largest value. Sums of a few hundred products in float32 are good to about 2e-6. */
const TOLERANCE = 1e-5;

const cases = readGolden<readonly GoldenCase[]>("operators.json");

test.each(Object.keys(GRADIENT_RULES))("%s", async (op) => {
  const own = cases.filter((one) => one.op === op);
  expect(own.length).toBeGreaterThan(0);
  for (const one of own) for (const form of one.forms) for (const opset of form.opsets) await check(one, form, opset);
});

async function check(one: GoldenCase, form: Form, opset: number): Promise<void> {
  const label = `${one.op}, ${one.name}, operator set ${opset}`;
  const data = one.data.map(uniform);
  const given = form.inputs ?? data.map((_, i) => i);
  const wrt = given.flatMap((from, i) => (typeof from === "number" && one.grads[from] !== null ? [i] : []));
  const node: OneNode = {
    op: one.op,
    opset,
    inputs: given.map((from) => (from === null ? null : typeof from === "number" ? data[from]! : constant(from))),
    attributes: Object.fromEntries(
      Object.entries(form.attributes ?? {}).map(([name, value]) => [name, attribute(value)]),
    ),
    wrt,
  };
  const { outputs, grads } = await runGradient(
    node,
    one.upstream.map((recipe) => recipe && uniform(recipe)),
  );
  for (const [i, y] of outputs.entries()) expectClose(y, one.upstream[i]?.dims, one.y[i]!, `${label}: output ${i}`);
  for (const [k, i] of wrt.entries()) {
    const from = given[i] as number;
    expectClose(grads[k]!, one.data[from]!.dims, one.grads[from]!, `${label}: gradient of input ${i}`);
  }
}

function expectClose(found: NdArray, dims: readonly number[] | undefined, golden: string, label: string): void {
  if (dims !== undefined) expect(found.dims, `shape, ${label}`).toEqual(dims);
  expect(relativeError(found.data as Float32Array, decode(golden)), label).toBeLessThan(TOLERANCE);
}

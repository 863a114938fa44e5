// Statistics come back from their bytes as they were, to the last bit.

import { expect, test } from "vitest";
import type { LayerStatistics } from "../../src/analyze/statistics.ts";
import { matrix } from "../../src/linalg/matrix.ts";
import type { LayerGradients } from "../../src/metric/gradients.ts";
import { type Coding, GRADIENTS, STATISTICS } from "../../src/metric/statistics-bytes.ts";
import { normal } from "../support/nets.ts";

const doubles = (count: number, seed: number) => Float64Array.from(normal(count, seed), (value) => value / 3);
const square = (n: number, seed: number) => matrix(n, n, doubles(n * n, seed));

function bytesOf<T>({ encode }: Coding<T>, value: T): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encode(value).flatMap((piece) => [...piece]));
}

test("of inputs and outputs, with all matrices and with none", async () => {
  const whole: LayerStatistics = {
    ...{ patches: square(5, 1), outputs: square(3, 2), samples: 7, inputVariance: 1 / 3, inputMean: doubles(5, 3) },
  };
  const bare: LayerStatistics = { ...whole, patches: null, outputs: null, inputVariance: Number.NaN };
  for (const value of [whole, bare]) expect(await STATISTICS.decode(bytesOf(STATISTICS, value))).toEqual(value);
});

test("of gradients: kfac's and mahalanobis', with and without importance, and what was in the way", async () => {
  const none = { alpha: null, outputs: null, diagonal: null, count: 0, importance: null, blocked: null };
  const importance = { maps: new Map([7, 2].map((image) => [image, normal(4, image)])), mean: 1 / 7 };
  const all: LayerGradients[] = [
    { ...none, outputs: square(3, 4), count: 12, importance },
    { ...none, outputs: square(3, 4), count: 12, importance: { maps: new Map(), mean: 0 } },
    { ...none, diagonal: doubles(3, 5), count: 12 },
    { ...none, alpha: normal(15, 6), count: 4 },
    { ...none, blocked: "no gradient through NonZero" },
  ];
  for (const value of all) {
    const read = await GRADIENTS.decode(bytesOf(GRADIENTS, value));
    expect(read).toEqual(value);
    expect([...(read!.importance?.maps.keys() ?? [])]).toEqual([...(value.importance?.maps.keys() ?? [])]);
  }
});

test("damaged bytes are none", async () => {
  const value = { patches: null, outputs: null, samples: 7, inputVariance: 1, inputMean: doubles(5, 3) };
  const bytes = bytesOf(STATISTICS, value);
  expect(await STATISTICS.decode(bytes.slice(0, bytes.length / 2))).toBeNull();
  expect(await STATISTICS.decode(new Uint8Array())).toBeNull();
});

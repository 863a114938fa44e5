import { expect, test } from "vitest";
import { casesOf } from "./cases.ts";

test("damaged models and data files are read, or refused in words for users", async () => {
  const caseOf = casesOf();
  const wrong: string[] = [];
  for (let seed = 0; seed < 2000; seed++) {
    await caseOf(seed)
      .check()
      .catch((error) => wrong.push(`${seed}: ${error}`));
  }
  expect(wrong).toEqual([]);
});

test("a case is the same for the same seed, and cases are of every form", () => {
  const [one, other] = [casesOf(), casesOf()];
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const { extension, bytes } = one(seed);
    expect(other(seed).bytes).toEqual(bytes);
    seen.add(extension);
  }
  expect([...seen].sort()).toEqual(["bmp", "idx3-ubyte", "npy", "npz", "onnx", "ppm"]);
});

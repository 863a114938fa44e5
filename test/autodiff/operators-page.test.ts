import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { operatorsPage } from "../../scripts/operators.ts";

test("docs/operators.md is what the tables of rules say", () => {
  const page = readFileSync(new URL("../../docs/operators.md", import.meta.url), "utf8");
  expect(page).toBe(operatorsPage());
  expect(page).toContain("| Conv | yes | yes |");
  expect(page).toContain("| Floor | yes | none |");
  expect(page).toContain("| LSTM | yes |  |");
});

import { describe, expect, test } from "vitest";
import {
  bytes,
  count,
  digits,
  duration,
  plainInk,
  printable,
  shortName,
  timeSpent,
  wrap,
} from "../../src/report/format.ts";
import { table } from "../../src/report/table.ts";

describe("numbers", () => {
  test("have three significant digits and no exponent", () => {
    const cases: [number, string][] = [
      [0, "0"],
      [0.01234, "0.0123"],
      [1.9249, "1.92"],
      [9.996, "10.0"],
      [93.46, "93.5"],
      [999.6, "1000"],
      [123456, "123000"],
      [-1.5, "-1.50"],
    ];
    for (const [value, text] of cases) expect(digits(value)).toBe(text);
  });

  test("counts and bytes carry their unit, and never reach 1000 of one that has a larger", () => {
    expect(count(512)).toBe("512");
    expect(count(2304)).toBe("2.30 K");
    expect(count(93_458_000)).toBe("93.5 M");
    expect(count(999_960)).toBe("1.00 M");
    expect(bytes(999)).toBe("999 B");
    expect(bytes(15_312_345)).toBe("15.3 MB");
    expect(bytes(2_000_000_000)).toBe("2.00 GB");
  });
});

describe("time", () => {
  test("is told in two units at most", () => {
    const spans = [0.314, 6.04, 61.3, 119.4, 251.9, 3599, 7199.6, 7500].map(duration);
    expect(spans).toEqual(["0.31 s", "6 s", "61 s", "119 s", "4 min 12 s", "59 min 59 s", "2 h 0 min", "2 h 5 min"]);
  });

  test("names the phases that took a fiftieth of it", () => {
    expect(timeSpent(100, { reading: 1, sensitivities: 20, search: 79 })).toBe(
      "100 s: sensitivities 20 s, search 79 s",
    );
    expect(timeSpent(0.001, { reading: 0.001 })).toBe("0.001 s");
  });
});

describe("texts from a file", () => {
  test("cannot steer the terminal", () => {
    expect(printable("a\x1b[2Jb\nc\x9bd")).toBe("a\ufffd[2Jb\ufffdc\ufffdd");
  });

  test("are cut on the left, where long names are alike", () => {
    expect(shortName("/model/layer1/conv1/Conv", 12)).toBe("…/conv1/Conv");
    expect(shortName("conv1", 12)).toBe("conv1");
  });

  test("wrap between words and lose none", () => {
    const text = "svd: a convolution: see channel; spatial: its kernel is 1x1";
    const wrapped = wrap(text, 20);
    expect(wrapped.split("\n").every((line) => line.length <= 20)).toBe(true);
    expect(wrapped.replaceAll("\n", " ")).toBe(text);
  });
});

test("a table aligns its columns and lets a cell span several", () => {
  const columns = [
    { title: "layer" },
    { title: "MACs", align: "right" as const },
    { title: "method" },
    { title: "rank" },
  ];
  const rows = [
    ["conv1", "9.63 M", "spatial", "14"],
    ["fc", "10.2 K", { content: "tiny", colSpan: 2 }],
  ];
  expect(table(columns, rows, plainInk)).toBe(
    ["layer    MACs  method   rank", "conv1  9.63 M  spatial  14", "fc     10.2 K  tiny"].join("\n"),
  );
});

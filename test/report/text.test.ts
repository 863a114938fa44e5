import { expect, test } from "vitest";
import { plainInk } from "../../src/report/format.ts";
import type { Inspection } from "../../src/report/inspect.ts";
import type { CompressReport, LayerReport } from "../../src/report/report.ts";
import { benchText, compressText, evalText, inspectText } from "../../src/report/text.ts";

const conv: LayerReport = {
  name: "conv2",
  op: "Conv",
  shape: [128, 64, 5, 5],
  method: "spatial",
  rank: 64,
  reason: "approximated, last factor refitted",
  macsBefore: 52_400_000,
  macsAfter: 15_700_000,
  paramsBefore: 204_928,
  paramsAfter: 61_568,
  msBefore: 1.08,
  msAfter: 0.323,
  error: 0.12,
  errorRefit: 0.1,
  tuning: null,
  channelsAfter: null,
};

const kept: LayerReport = {
  ...conv,
  name: "/features/features.6/Conv",
  method: null,
  rank: null,
  reason: "svd: a convolution: see channel; channel: not a convolution; spatial: its kernel is 1x1",
  macsAfter: 52_400_000,
  msBefore: null,
  msAfter: null,
};

const report: CompressReport = {
  input: "model.onnx",
  output: "small.onnx",
  macs: { before: 93_458_000, after: 46_611_000 },
  params: { before: 3_820_000, after: 3_560_000 },
  bytes: { before: 15_312_345, after: 14_224_318 },
  latency: {
    beforeMs: 2.4712,
    afterMs: 1.5907,
    speedup: 1.553,
    ci95: [1.531, 1.582],
    batch: 1,
    threads: 1,
    decided: true,
    busy: false,
  },
  accuracy: { before: 0.7684, after: 0.7664, drop: 0.2, ci95: [-0.31, 0.72] },
  answers: {
    ...{
      kind: "classes",
      outputs: ["logits"],
      score: 0.984375,
      before: null,
      after: null,
      drop: 1.5625,
      ci95: [2, 5],
      custom: false,
    },
    heads: [
      {
        ...{ kind: "classes", outputs: ["logits"], description: "scores of 10 classes" },
        ...{ share: 0.984375, ci95: [0.917, 0.997], count: 64, lost: null, added: null },
      },
    ],
  },
  agreement: 0.984375,
  agreementCi95: [0.917, 0.997],
  outputError: 0.02274,
  promise: null,
  images: { choice: 0, calibration: 192, measured: 64, skipped: 0 },
  layers: [conv, kept],
  finetune: null,
  slim: [],
  folded: 0,
  notes: ["3 images could not be read, the first: a.png (cut short)"],
  seed: 0,
  seconds: { reading: 0.2, factoring: 61.3, sensitivities: 95, search: 0.4, latency: 6.04, tuning: 88.9 },
  secondsTotal: 251.9,
};

test("compress: what was gained, what it cost, and every layer", () => {
  expect(compressText(report)).toMatchInlineSnapshot(`
    "model.onnx -> small.onnx

    1.55x faster (95% interval 1.53 to 1.58): 2.47 ms -> 1.59 ms, batch 1, 1 thread
    MACs        93.5 M -> 46.6 M (2.01x fewer)
    parameters  3.82 M -> 3.56 M (1.07x fewer)
    file        15.3 MB -> 14.2 MB (1.08x smaller)
    top-1       76.84% -> 76.64%, drop 0.20 points (95% interval -0.31 to 0.72)
    agreement   the same answer for 98.4% of 64 images (95% interval 91.7% to 99.7%)
    output      relative error 0.0227
    time        4 min 12 s: factoring 61 s, sensitivities 95 s, latency 6 s, tuning 89 s

    layer                      op    FxCxXxY     MACs              method      rank  ms                speed-up
    conv2                      Conv  128x64x5x5  52.4 M -> 15.7 M  spatial       64  1.08 -> 0.323        3.34x
    /features/features.6/Conv  Conv  128x64x5x5  52.4 M            svd: a convolution: see channel; channel:
                                                                   not a convolution; spatial: its kernel is
                                                                   1x1

    Notes
    - 3 images could not be read, the first: a.png (cut short)
    "
  `);
});

test("compress: no images, no difference in speed", () => {
  const latency = { ...report.latency, speedup: 1.004, ci95: [0.981, 1.022] as const, decided: false, threads: null };
  const without = {
    ...report,
    latency,
    accuracy: null,
    answers: null,
    agreement: null,
    agreementCi95: null,
    outputError: null,
  };
  const text = compressText({ ...without, layers: [], notes: [] });
  expect(text).toMatchInlineSnapshot(`
    "model.onnx -> small.onnx

    No difference in speed that could be measured: 1.00x (95% interval 0.981 to 1.02), 2.47 ms -> 1.59 ms, batch 1
    MACs        93.5 M -> 46.6 M (2.01x fewer)
    parameters  3.82 M -> 3.56 M (1.07x fewer)
    file        15.3 MB -> 14.2 MB (1.08x smaller)
    time        4 min 12 s: factoring 61 s, sensitivities 95 s, latency 6 s, tuning 89 s
    "
  `);
});

test("compress: says slower where it is slower, and larger where it is larger", () => {
  const latency = { ...report.latency, speedup: 0.8, ci95: [0.78, 0.82] as const };
  const text = compressText({ ...report, latency, bytes: { before: 1000, after: 2000 } });
  expect(text).toContain("Slower: 0.800x the speed");
  expect(text).toContain("file        1.00 KB -> 2.00 KB (2.00x larger)");
});

test("a layer's name cannot steer the terminal", () => {
  const text = compressText({ ...report, layers: [{ ...conv, name: "conv\x1b[2J" }] });
  expect(text).not.toContain("\x1b");
});

test("inspect: layers with their methods, or the reason for none", () => {
  const found: Inspection = {
    groups: [{ name: "conv1", makers: ["conv1"], readers: ["conv2"], count: 32, least: 8, reason: null }],
    layers: [
      {
        ...{ name: "conv1", op: "Conv", shape: [64, 3, 7, 7], macs: 9_633_792, params: 9472, macsShare: 0.9 },
        methods: ["channel", "tucker2"],
        costs: [
          { method: "channel", rank: 24, macs: 4_816_896, params: 5128 },
          { method: "channel", rank: 8, macs: 2_408_448, params: 1752 },
          { method: "tucker2", rank: [2, 8], macs: 963_379, params: 1038 },
        ],
        reason: null,
      },
      {
        ...{ name: "product", op: "MatMul", shape: null, macs: 1_070_421, params: 0, macsShare: 0.1 },
        ...{ methods: [], costs: [], reason: "its weight is not constant" },
      },
    ],
    ...{ macs: 10_704_213, params: 9472, bytes: 38_912, batch: null },
    input: { name: "image", shape: [1, 3, 32, null] },
    inputs: [{ name: "image", shape: [1, 3, 32, null] }],
    notes: ["counted for 1x3x224x224"],
  };
  expect(inspectText(found, plainInk, true)).toContain(`
layer  method     ranks  MACs                  fewer MACs  parameters
conv1  channel  8 to 24  2.41 M to 4.82 M  4.00x to 2.00x  1.75 K to 5.13 K
conv1  tucker2      2/8  963 K                      10.0x  1.04 K
`);
  const text = inspectText(found);
  expect(text).toMatchInlineSnapshot(`
    "10.7 M MACs for one image, 9.47 K parameters, 38.9 KB; input image [1, 3, 32, ?]

    layer    op      FxCxXxY     MACs  share  parameters  methods
    conv1    Conv    64x3x7x7  9.63 M  90.0%      9.47 K  channel, tucker2
    product  MatMul            1.07 M  10.0%           0  its weight is not constant

    1 of 2 layers can be approximated, 90.0% of the MACs.

    channels of  read by  channels  fewest left
    conv1        conv2          32  8

    1 of 1 group of channels can be narrowed.

    Notes
    - counted for 1x3x224x224
    "
  `);
});

test("eval: accuracies with their intervals", () => {
  const range = { top1Ci95: [0.7565, 0.7919] as const, top5Ci95: [0.98, 0.99] as const };
  const text = evalText({ n: 5000, top1: 0.7684, top5: 0.988, ...range, skipped: 0, notes: [] });
  expect(text).toMatchInlineSnapshot(`
    "top-1  76.84% (95% interval 75.65% to 79.19%)
    top-5  98.80% (95% interval 98.00% to 99.00%)
    5000 images
    "
  `);
});

test("bench: times, and ratios to the first", () => {
  const times = { medianMs: 1.4312, p10Ms: 1.2412, p90Ms: 1.6612 };
  const models = ["a.onnx", "b.onnx", "c.onnx"].map((file) => ({ file, ...times }));
  const ratios = [
    { file: "b.onnx", speedup: 1.61, ci95: [1.6, 1.63] as const, decided: true },
    { file: "c.onnx", speedup: 1.01, ci95: [0.99, 1.02] as const, decided: false },
  ];
  expect(
    benchText({ models, ratioToFirst: ratios, batch: 1, threads: 2, busy: false, notes: [] }),
  ).toMatchInlineSnapshot(`
    "model    median       p10 to p90  against the first
    a.onnx  1.43 ms  1.24 to 1.66 ms
    b.onnx  1.43 ms  1.24 to 1.66 ms  1.61x as fast (95% interval 1.60 to 1.63)
    c.onnx  1.43 ms  1.24 to 1.66 ms  1.01x as fast (95% interval 0.990 to 1.02, too close to decide)

    batch 1, 2 threads
    "
  `);
  expect(
    benchText({ models: models.slice(0, 1), ratioToFirst: [], batch: 4, threads: null, busy: true, notes: [] }),
  ).toMatchInlineSnapshot(`
    "model    median       p10 to p90
    a.onnx  1.43 ms  1.24 to 1.66 ms

    batch 4, threads as ONNX Runtime chooses; the machine was busy: measure again when it is idle
    "
  `);
});

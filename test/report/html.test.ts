import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import { compress } from "../../src/compress.ts";
import { type Reportable, reportHtml } from "../../src/report/html.ts";
import type { CandidateDetails, CompressDetails, StageDetails } from "../../src/report/html-details.ts";
import type { CompressReport, LayerReport, TrialReport } from "../../src/report/report.ts";
import { formatPlan, type Plan } from "../../src/search/plan.ts";
import { smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";
import { halvedTimes } from "../support/times.ts";

const EVIL = '<script>alert("1")</script>';

const layer = (name: string, own: Partial<LayerReport> = {}): LayerReport => ({
  ...{ name, op: "Conv", shape: [64, 32, 3, 3], method: null, rank: null, reason: "groups of 32 channels" },
  ...{ macsBefore: 1e6, macsAfter: 1e6, paramsBefore: 18_496, paramsAfter: 18_496 },
  ...{ channelsAfter: null, msBefore: null, msAfter: null, error: null, errorRefit: null, tuning: null },
  ...own,
});

const candidate = (method: string, rank: number, own: Partial<CandidateDetails> = {}): CandidateDetails => ({
  ...{ method, rank, macs: 1e4 * rank, params: 100 * rank, error: 1 / rank, sensitivity: 0.01 / rank, ms: 0.01 * rank },
  chosen: false,
  ...own,
});

const conv = (input: string, output: string, own: Partial<StageDetails> = {}): StageDetails => ({
  ...{ op: "Conv", inputs: [input], outputs: [output], weight: [16, 32, 3, 1], channels: [32, 16], group: 1 },
  ...{ strides: [1, 1], dilations: [1, 1], shape: [16, 8, 8], macs: 98_304 },
  ...own,
});

const trial = (drop: number, speedup: number, own: Partial<TrialReport> = {}): TrialReport => ({
  ...{
    sensitivity: 0.1,
    harm: 0.1,
    macs: 5e5,
    params: 1e4,
    drop,
    dropCi95: [drop - 0.5, drop + 0.5],
    speedup,
    kept: true,
    proof: false,
  },
  ...own,
});

const report: CompressReport = {
  ...{ input: `in/${EVIL}.onnx`, output: "out/small.onnx", seed: 7, folded: 2, finetune: null, slim: [] },
  macs: { before: 3e6, after: 1e6 },
  params: { before: 50_000, after: 20_000 },
  bytes: { before: 200_000, after: 80_000 },
  latency: {
    beforeMs: 2,
    afterMs: 1,
    speedup: 2,
    ci95: [1.9, 2.1],
    batch: 1,
    threads: 2,
    decided: true,
    busy: false,
  },
  accuracy: { before: 0.9, after: 0.89, drop: 1, ci95: [0.2, 1.8] },
  answers: {
    ...{
      kind: "classes",
      outputs: ["logits"],
      score: 0.97,
      before: null,
      after: null,
      drop: 3,
      ci95: [2, 5],
      custom: false,
    },
    heads: [
      {
        ...{ kind: "classes", outputs: ["logits"], description: "scores of 10 classes" },
        ...{ share: 0.97, ci95: [0.95, 0.98], count: 64, lost: null, added: null },
      },
    ],
  },
  ...{ agreement: 0.97, agreementCi95: [0.95, 0.98], outputError: 0.1 },
  promise: {
    goals: { macs: null, params: null, speed: null, maxDrop: 1.5 },
    certain: false,
    trials: [
      trial(0.5, 1.5),
      trial(80, 4, { kept: false }),
      trial(2.5, 2.5, { kept: false, proof: true }),
      trial(1, 2, { proof: true }),
    ],
  },
  images: { calibration: 100, choice: 50, measured: 60, skipped: 0 },
  layers: [
    layer(`first ${EVIL}`, {
      method: "spatial",
      rank: 16,
      macsAfter: 2e5,
      msBefore: 0.4,
      msAfter: 0.1,
      error: 0.25,
    }),
    layer("slow"),
    layer("grouped"),
  ],
  notes: [`a note with ${EVIL}`],
  ...{ seconds: { factoring: 3, sensitivities: 97 }, secondsTotal: 100 },
};

const details: CompressDetails = {
  layers: [
    {
      ...{ name: `first ${EVIL}`, ms: 0.42 },
      candidates: [
        candidate("spatial", 8),
        candidate("spatial", 16, { chosen: true }),
        candidate("tucker2", 20, { ms: null }),
      ],
      stages: {
        before: [conv("x", "y", { weight: [64, 32, 3, 3], channels: [32, 64], shape: [64, 8, 8] })],
        after: [
          conv("x", "h"),
          conv("h", "p1", { group: 16, weight: [16, 1, 1, 3], channels: [16, 16], strides: [2, 2] }),
          conv("h", "p2", { group: 16, weight: [16, 1, 1, 3], channels: [16, 16], strides: [2, 2] }),
          conv("p1", "z", {
            op: "Concat",
            inputs: ["p1", "p2"],
            weight: null,
            channels: null,
            shape: [32, 8, 8],
            macs: 0,
          }),
          conv("z", "y", { op: "Gather", weight: null, channels: null, macs: 0 }),
        ],
      },
    },
    { name: "slow", ms: 0.2, candidates: [candidate("spatial", 30), candidate("spatial", 40)], stages: null },
    { name: "grouped", ms: null, candidates: [], stages: null },
  ],
  changed: {
    ...{ compared: 60, changed: 3, lost: 2, won: 1 },
    examples: [
      {
        ...{ name: `photo ${EVIL}`, before: `cat ${EVIL}`, after: "dog", label: "dog" },
        pixels: { width: 300, height: 200, channels: 3, data: new Uint8Array(300 * 200 * 3).fill(90) },
      },
      {
        ...{ name: "grey", before: "cat", after: "dog", label: "bird" },
        pixels: { width: 8, height: 8, channels: 1, data: new Uint8Array(64).fill(200) },
      },
    ],
  },
};

const plan: Plan = { layers: new Map([["first", { method: "spatial", rank: [16] }]]), slim: new Map() };

const options = { command: "lowrank compress 'a <b>.onnx' -o small.onnx", version: "1.2.3", machine: "a machine" };

let html: string;
beforeAll(async () => {
  html = await reportHtml({ plan, report, details }, options);
});

const svgs = (page: string) => page.match(/<svg [\s\S]*?<\/svg>/g) ?? [];
/** Without the names of XML's namespaces, which nothing fetches. */
const bare = (page: string) => page.replace(/ xmlns(:xlink)?="[^"]*"/g, "");
const visible = (page: string) => page.replace(/<style>[\s\S]*?<\/style>/g, "").replace(/<[^>]*>/g, " ");

test("text is only ever text", () => {
  expect(html).not.toContain("<script");
  expect(html.match(/&lt;script&gt;/g)!.length).toBeGreaterThanOrEqual(6);
  expect(html).toContain("lowrank compress 'a &lt;b&gt;.onnx' -o small.onnx");
  expect(html).not.toMatch(/="[^"<>]*<script/);
});

test("fetches nothing: pictures are in the page, and no address leads out of it", () => {
  expect(bare(html)).not.toMatch(/https?:|@import|url\((?!#)/);
  const sources = [...html.matchAll(/\b(?:src|href)="([^"]*)"/g)].map((match) => match[1]!);
  expect(sources.filter((source) => !/^(#|data:image\/png;base64,)/.test(source))).toEqual([]);
  expect(sources.filter((source) => source.startsWith("data:"))).toHaveLength(2);
});

test("elements are closed in order, and links lead to sections", () => {
  const open: string[] = [];
  const body = html.replace(/<style>[\s\S]*?<\/style>/, "");
  for (const [, end, tag, rest] of body.matchAll(/<(\/?)([a-z][a-zA-Z0-9]*)\b([^>]*)>/g)) {
    if (["meta", "img", "br"].includes(tag!)) continue;
    if (end === "/") expect(open.pop()).toBe(tag);
    else if (!rest!.endsWith("/")) open.push(tag!);
  }
  expect(open).toEqual([]);
  const links = [...html.matchAll(/href="#([^"]+)"/g)].map((match) => match[1]!);
  expect(links).toEqual(["tried", "layers", "answers", "repeat", "notes"]);
  for (const id of links) expect(html).toContain(`<section id="${id}">`);
});

test("every drawing is XML that an SVG library draws, with names of its own", async () => {
  const drawings = svgs(html);
  // Networks tried; of the first layer what stands for it and its candidates; the candidates of the second.
  expect(drawings).toHaveLength(4);
  for (const svg of drawings) expect((await sharp(Buffer.from(svg)).metadata()).format).toBe("svg");
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]!);
  expect(new Set(ids).size).toBe(ids.length);
});

test("says first what was gained and lost, and how certain the promise is", () => {
  const facts = html.slice(html.indexOf('<dl class="facts">'), html.indexOf("<nav"));
  for (const value of ["2.00×", "1.00", "3.00×", "2.50×", "Kept"]) expect(facts).toContain(`<dd>${value}</dd>`);
  expect(facts).toContain("95% interval 1.90 to 2.10");
  expect(facts).toContain("90.00% → 89.00%, drop's 95% interval 0.20 to 1.80");
  expect(facts).toContain("only more images would make it certain");
});

test("a promise that the whole interval keeps is called certain; without labels agreement is told", async () => {
  const promise = { ...report.promise!, certain: true };
  const page = await reportHtml({ plan, report: { ...report, promise, accuracy: null }, details });
  expect(page).toContain("certain: the whole 95% interval keeps it");
  expect(page).not.toContain("only more images");
  expect(page).toContain("<dd>97.0%</dd>");
  expect(page).toContain("points of agreement lost");
});

test("the chart of networks tried has all but those far off, which it counts", () => {
  const section = html.slice(html.indexOf('<section id="tried">'), html.indexOf('<section id="layers">'));
  for (const name of ["original", "tried, good enough", "refused on held-out images", "result", "promised"])
    expect(section).toContain(`>${name}</text>`);
  expect(section).not.toContain(">tried, lost too much</text>");
  expect(section).toContain("4 networks built and measured");
  expect(section).toContain("1 network lost more than the chart shows");
});

test("where no network was tried there is no such section", async () => {
  const page = await reportHtml({ plan, report: { ...report, promise: { ...report.promise!, trials: [] } }, details });
  expect(page).not.toContain('id="tried"');
});

test("every layer has its line; those with candidates open, those left alone say why", () => {
  const section = html.slice(html.indexOf('<section id="layers">'), html.indexOf('<section id="answers">'));
  expect(section.match(/<details class="layer/g)).toHaveLength(2);
  expect(section.match(/class="layer left"/g)).toHaveLength(2);
  expect(visible(section)).toMatch(/0\.400 → 0\.100\s+4\.00×/);
  expect(section).toContain("1.00 M → 200 K");
  expect(section).toContain("groups of 32 channels");
  expect(section).toContain("the fastest of 2 candidates that were timed takes 0.300 ms, the layer 0.200 ms");
  for (const name of ["spatial", "tucker2", "chosen", "the layer as it was", "milliseconds"])
    expect(section).toContain(`>${name}</text>`);
});

test("what stands for a layer is drawn: alike ones side by side as one box, groups, strides, shapes", () => {
  const drawing = svgs(html).find((svg) => svg.includes(">after</text>"))!;
  expect(drawing.match(/<rect /g)).toHaveLength(1 + 4);
  for (const text of ["Conv 3×3", "Conv 3×1", "2 × Conv 1×3", "Concat", "Gather", "32 → 16", "depthwise", "stride 2"])
    expect(drawing).toContain(`>${text}</text>`);
  expect(drawing).toContain(">16×8×8</text>");
  expect(drawing).toContain(">197 K MACs</text>");
});

test("answers that changed: how many of each kind, and pictures with the truth where it is neither answer", async () => {
  const section = html.slice(html.indexOf('<section id="answers">'), html.indexOf('<section id="repeat">'));
  expect(section).toContain(
    "3 of 60 images (5.0%) get another top answer than before: 2 right before and wrong now, 1 wrong",
  );
  expect(section).toMatch(/<b class="wrong">cat &lt;script.*<\/b> → <b class="right">dog<\/b><\/figcaption>/);
  expect(section).toContain('<b class="wrong">cat</b> → <b class="wrong">dog</b><br>truth: bird');
  const [large, small] = [...section.matchAll(/base64,([^"]+)"/g)].map((match) => Buffer.from(match[1]!, "base64"));
  expect(await sharp(large).metadata()).toMatchObject({ format: "png", width: 128, height: 85 });
  expect(await sharp(small).metadata()).toMatchObject({ format: "png", width: 8, height: 8 });
  const none = { ...details, changed: { ...details.changed!, changed: 0, examples: [] } };
  const page = await reportHtml({ plan, report, details: none });
  expect(page).toContain("All of 60 images get the same top answer as before.");
  expect(page).not.toContain("<img");
});

test("tells how to repeat it: command, seed, version, machine and the plan", () => {
  const section = html.slice(html.indexOf('<section id="repeat">'), html.indexOf('<section id="notes">'));
  for (const text of [
    "<dd>7</dd>",
    "<dd>1.2.3</dd>",
    "<dd>a machine</dd>",
    "<dd>100 s: factoring 3 s, sensitivities 97 s</dd>",
    "<dd>2</dd>",
  ])
    expect(section).toContain(text);
  expect(section).toContain(`<pre><code>${formatPlan(plan)}</code></pre>`);
});

test("the same data gives the same page", async () => {
  expect(await reportHtml({ plan, report, details }, options)).toBe(html);
});

const quick = { threads: 1, seed: 3, seconds: 0.05 };

test("a search gives what its page shows: sensitivities, times, networks tried, answers that changed", async () => {
  const goal = { data: pictures(80), preprocess: { preset: "unit" }, maxDrop: 60, methods: ["svd", "spatial"] };
  const result: Reportable = await compress(smallClassifier(), { ...goal, memo: halvedTimes(), ...quick });
  const { layers, changed } = result.details;
  expect(layers.map(({ name }) => name)).toEqual(["conv1", "conv2", "fc1", "fc2"]);
  for (const { name, ms, candidates } of layers) {
    const choice = result.plan.layers.get(name);
    expect(candidates.filter(({ chosen }) => chosen).map(({ method }) => method)).toEqual(
      choice ? [choice.method] : [],
    );
    if (candidates.length === 0) continue;
    expect(ms).toBeGreaterThan(0);
    const measured = candidates.filter((each) => each.ms !== null);
    expect(measured.length).toBeGreaterThan(0);
    for (const { sensitivity, ms: own } of measured) expect([sensitivity! >= 0, own! > 0]).toEqual([true, true]);
  }
  expect(changed!.compared).toBe(result.report.images.measured);
  expect(changed!.changed).toBe(Math.round((1 - result.report.agreement!) * changed!.compared));
  expect(changed!.examples.length).toBe(Math.min(12, changed!.changed));
  for (const { before, after } of changed!.examples) expect(before).not.toBe(after);
  expect(100 * (changed!.lost! - changed!.won!)).toBeCloseTo(result.report.accuracy!.drop * changed!.compared, 6);
  const page = await reportHtml(result);
  for (const { name } of result.report.layers) expect(page).toContain(`>${name}</b>`);
  expect(page).toContain('id="tried"');
});

test("what stands for a layer is the written network's: its MACs are those of the layer before and after", async () => {
  const layers = {
    conv2: { method: "bicluster+svd", rank: [2, 2, 4, 4], form: "grouped+grouped+grouped" },
    fc1: { method: "svd", rank: 8 },
  };
  const result = await compress(smallClassifier(), { plan: JSON.stringify({ version: 1, layers }), ...quick });
  for (const { name, stages } of result.details.layers) {
    expect(stages !== null).toBe(name in layers);
    if (stages === null) continue;
    const { macsBefore, macsAfter } = result.report.layers.find((one) => one.name === name)!;
    const macs = (nodes: readonly StageDetails[]) => nodes.reduce((sum, node) => sum + node.macs, 0);
    expect([macs(stages.before), macs(stages.after)]).toEqual([macsBefore, macsAfter]);
  }
  const [, conv2, fc1] = result.details.layers.map(({ stages }) => stages?.after ?? []);
  expect(conv2!.filter(({ op }) => op === "Conv").map(({ group }) => group)).toContain(2);
  expect(fc1!.map(({ op, channels }) => [op, channels])).toEqual([
    ["Gemm", [512, 8]],
    ["Gemm", [8, 64]],
  ]);
  expect(result.details.changed).toBeNull();
  expect(await reportHtml(result)).not.toContain('id="answers"');
});

test("groups of channels: how wide they were and are, and why some are as they were", async () => {
  const group = { makers: ["conv1", "conv2", "conv3"], readers: ["conv4"], before: 64, error: null };
  const slim = [
    { ...group, group: "conv1 + conv2 + conv3", after: 40, error: 0.1, reason: null },
    { ...group, group: EVIL, makers: [EVIL], readers: [], after: 64, reason: "it reaches the output <y>" },
  ];
  const page = await reportHtml({ plan, report: { ...report, slim }, details }, options);
  expect(page).toContain("1 of 2 groups of channels are narrower than they were");
  expect(page).toContain("conv1 and 2 others");
  expect(page).toContain("64 → 40");
  expect(page).toContain("it reaches the output &lt;y&gt;");
  expect(page).not.toContain(EVIL);
  expect(html).not.toContain("of channels are narrower");
});

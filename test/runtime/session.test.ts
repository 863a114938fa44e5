// Sessions in Node: results, the queue, disposal, and weights beside the model.

import * as ort from "onnxruntime-node";
import { afterEach, describe, expect, test, vi } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim, ElementType, Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { ARRAYS } from "../../src/runtime/ndarray.ts";
import {
  float32,
  float64,
  int64,
  type NdArray,
  openSession,
  runOnce,
  type SessionOptions,
  withSession,
} from "../../src/runtime/session.ts";
import { normalTensor } from "../support/nets.ts";

const f32 = (...values: number[]) => Float32Array.from(values);

function unary(op: string, type: ElementType = "float32", shape: readonly Dim[] | null = ["N"]): Model {
  return model({
    inputs: [valueInfo("x", type, shape)],
    outputs: [valueInfo("y", type, shape)],
    nodes: [node(op, ["x"], ["y"])],
  });
}

/** y = relu(a b), p = a b; shapes that do not match are found only when it runs. */
const product = model({
  inputs: [valueInfo("a", "float32", ["N", "K"]), valueInfo("b", "float32", ["L", "M"])],
  outputs: [valueInfo("y", "float32", ["N", "M"]), valueInfo("p", "float32", ["N", "M"])],
  nodes: [node("MatMul", ["a", "b"], ["p"], {}, "mm"), node("Relu", ["p"], ["y"])],
});
const a = float32([2, 3], f32(1, 2, 3, 4, 5, 6));
const b = float32([3, 2], f32(1, -1, 2, -2, 3, -3));
const mismatched = { a, b: float32([2, 2], f32(1, 2, 3, 4)) };

async function thrownBy(job: () => Promise<unknown>): Promise<LowrankError> {
  const error = await job().then(
    () => new Error("nothing was thrown"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LowrankError);
  return error as LowrankError;
}

describe("results", () => {
  test("every output by default, those in fetches on request", async () => {
    await withSession(product, {}, async (session) => {
      const all = await session.run({ a, b });
      expect(all.y).toEqual(float32([2, 2], f32(14, 0, 32, 0)));
      expect(all.p).toEqual(float32([2, 2], f32(14, -14, 32, -32)));
      expect(await session.run({ a, b }, ["p"])).toEqual({ p: all.p });
    });
  });

  test("bytes of a file work as the model does", async () => {
    expect(await runOnce(encodeModel(product), { a, b })).toEqual(await runOnce(product, { a, b }));
  });

  test("inputs and outputs are described", async () => {
    const graph = model({
      inputs: [valueInfo("x", "float64", ["N", 3, null]), valueInfo("any", "int64", null)],
      outputs: [valueInfo("y", "float64", ["N", 3, null])],
      nodes: [node("Reshape", ["x", "any"], ["y"])],
    });
    await withSession(graph, {}, async ({ inputs, outputs }) => {
      expect(inputs).toEqual([
        { name: "x", type: "float64", shape: ["N", 3, null] },
        { name: "any", type: "int64", shape: null },
      ]);
      expect(outputs.map(({ name }) => name)).toEqual(["y"]);
    });
  });

  const extremes: Readonly<Record<string, readonly (number | bigint)[]>> = {
    float32: [-1.5, 2 ** -149, Number.POSITIVE_INFINITY],
    float64: [-1 / 3, Number.MIN_VALUE, Number.MAX_VALUE],
    float16: [0x3c00, 0x0001, 0xfc00],
    int8: [-128, 0, 127],
    uint8: [0, 1, 255],
    bool: [0, 1, 1],
    int16: [-32768, 0, 32767],
    uint16: [0, 1, 65535],
    int32: [-(2 ** 31), 0, 2 ** 31 - 1],
    uint32: [0, 1, 2 ** 32 - 1],
    int64: [-(2n ** 63n), 0n, 2n ** 63n - 1n],
    uint64: [0n, 1n, 2n ** 64n - 1n],
  };

  test.each([...ARRAYS])("%s passes through bit by bit", async (type, Class) => {
    const data = Reflect.construct(Class, [extremes[type]]) as NdArray["data"];
    const x: NdArray = { type, dims: [3], data };
    expect(await runOnce(unary("Identity", type), { x })).toEqual({ y: x });
  });

  test("float64 and int64 keep what float32 would lose", async () => {
    const x = float64([1], Float64Array.of(1 + 2 ** -40));
    expect((await runOnce(unary("Relu", "float64"), { x })).y).toEqual(x);
    const n = int64([1], BigInt64Array.of(2n ** 60n + 1n));
    expect((await runOnce(unary("Abs", "int64"), { x: n })).y).toEqual(n);
  });

  test("scalars, empty tensors and views into larger buffers", async () => {
    const scalar = float32([], f32(-2));
    expect((await runOnce(unary("Abs", "float32", []), { x: scalar })).y).toEqual(float32([], f32(2)));
    const empty = float32([0], f32());
    expect((await runOnce(unary("Abs"), { x: empty })).y).toEqual(empty);
    const view = float32([2], f32(9, 9, -3, 4, 9).subarray(2, 4));
    expect((await runOnce(unary("Abs"), { x: view })).y).toEqual(float32([2], f32(3, 4)));
  });

  test("outputs outlive later runs and the session", async () => {
    const session = await openSession(unary("Abs"));
    const { y: first } = await session.run({ x: float32([2], f32(-1, 2)) });
    const { y: second } = await session.run({ x: float32([2], f32(-5, 6)) });
    await session.dispose();
    expect([first, second]).toEqual([float32([2], f32(1, 2)), float32([2], f32(5, 6))]);
  });

  const settings: SessionOptions[] = [
    { threads: 1 },
    { threads: 2, spinning: true },
    { provider: "cpu" },
    { optimization: "disabled" },
  ];
  test.each(settings)("the same with %o", async (options) => {
    expect((await runOnce(product, { a, b }, options)).y).toEqual(float32([2, 2], f32(14, 0, 32, 0)));
  });
});

describe("what ONNX Runtime is told", () => {
  afterEach(() => vi.restoreAllMocks());

  const told = async (options: SessionOptions) => {
    const create = vi.spyOn(ort.InferenceSession, "create");
    await withSession(product, options, async () => {});
    return (create.mock.calls[0] as unknown as [Uint8Array, ort.InferenceSession.SessionOptions])[1];
  };
  const spin = (value: string) => ({
    session: { intra_op: { allow_spinning: value }, inter_op: { allow_spinning: value } },
  });

  test("by default: no spinning, its own number of threads and provider, every optimisation", async () => {
    expect(await told({})).toEqual({
      graphOptimizationLevel: "all",
      executionMode: "sequential",
      enableMemPattern: true,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      extra: spin("0"),
    });
  });

  test("what the options say", async () => {
    const options = {
      threads: 1,
      provider: "cpu",
      spinning: true,
      optimization: "basic",
      memoryPattern: false,
    } as const;
    expect(await told(options)).toMatchObject({
      graphOptimizationLevel: "basic",
      enableMemPattern: false,
      intraOpNumThreads: 1,
      executionProviders: ["cpu"],
      extra: spin("1"),
    });
  });
});

describe("what does not fit is refused before ONNX Runtime is asked", () => {
  const fixed = unary("Abs", "float32", ["N", 3]);
  const x = float32([2, 3], f32(1, 2, 3, 4, 5, 6));
  const cases: [string, Record<string, NdArray>, string][] = [
    ["a missing input", {}, "the input x is missing; the inputs are x"],
    ["an unknown input", { x, z: x }, "there is no input z; the inputs are x"],
    ["another type", { x: float64([2, 3], new Float64Array(6)) }, "input x is float64; the model wants float32"],
    ["another rank", { x: float32([6], x.data as Float32Array) }, "input x has shape [6]; the model wants [N,3]"],
    ["another size", { x: float32([3, 2], x.data as Float32Array) }, "input x has shape [3,2]; the model wants [N,3]"],
    ["too few values", { x: float32([3, 3], f32(1)) }, "input x has shape [3,3], which does not hold 1 elements"],
    [
      "another array class",
      { x: { type: "float32", dims: [2, 3], data: new Float64Array(6) } },
      "input x is float32 in a Float64Array; it must be in a Float32Array",
    ],
  ];
  test.each(cases)("%s", async (_, feeds, message) => {
    await withSession(fixed, {}, async (session) => {
      const error = await thrownBy(() => session.run(feeds));
      expect([error.code, error.message]).toEqual(["runtime", message]);
      expect(error.cause).toBeUndefined();
    });
  });

  test("an input that is named like a property of every object is missing too", async () => {
    const graph = model({
      inputs: [valueInfo("constructor", "float32", ["N"])],
      outputs: [valueInfo("y", "float32", ["N"])],
      nodes: [node("Abs", ["constructor"], ["y"])],
    });
    expect((await thrownBy(() => runOnce(graph, {}))).message).toContain("the input constructor is missing");
  });

  test("fetches that are no outputs, or none", async () => {
    await withSession(product, {}, async (session) => {
      const unknown = await thrownBy(() => session.run({ a, b }, ["y", "q"]));
      expect([unknown.code, unknown.message]).toEqual(["runtime", "there is no output q; the outputs are y, p"]);
      expect((await thrownBy(() => session.run({ a, b }, []))).code).toBe("runtime");
    });
  });

  test("strings", async () => {
    const error = await thrownBy(() => runOnce(unary("Identity", "string"), { x }));
    expect(error.code).toBe("unsupported");
    expect(error.message).toMatch(/^input x is of type string; sessions take and give float32, .*uint64$/);
  });

  test.each([0, -1, 1.5, Number.NaN])("%d threads", async (threads) => {
    const error = await thrownBy(() => openSession(product, { threads }));
    expect([error.code, error.message]).toEqual([
      "bad-option",
      `threads is ${threads}; it must be a whole number of at least 1`,
    ]);
  });
});

describe("ONNX Runtime's failures are LowrankErrors of one line, with the original as cause", () => {
  const failures: [string, () => Promise<unknown>, RegExp][] = [
    ["nonsense", () => openSession(new Uint8Array([1, 2, 3])), /cannot open the model: .*protobuf/],
    ["an unknown operator", () => openSession(unary("Nonsense")), /cannot open the model: .*Nonsense/],
    ["an unknown provider", () => openSession(product, { provider: "abacus" }), /on the provider abacus: .*abacus/],
    ["sizes that do not match", () => runOnce(product, mismatched), /^ONNX Runtime failed: MatMul mm: .*mismatch$/],
  ];
  test.each(failures)("%s", async (_, job, message) => {
    const error = await thrownBy(job);
    expect(error.code).toBe("runtime");
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
    expect(error.cause).toBeInstanceOf(Error);
  });
});

describe("the queue", () => {
  afterEach(() => vi.restoreAllMocks());

  test("keeps the order in which work was asked for, over sessions and past failures", async () => {
    const [one, two] = [await openSession(product), await openSession(unary("Abs"))];
    const big = float32([300, 300], new Float32Array(90_000));
    const settled: string[] = [];
    const note = (name: string, job: Promise<unknown>) =>
      job.then(
        () => settled.push(name),
        () => settled.push(`${name} failed`),
      );
    await Promise.all([
      note("large", one.run({ a: big, b: big })),
      note("mismatched", one.run(mismatched)),
      note("small", two.run({ x: float32([1], f32(1)) })),
      note("nonsense", openSession(new Uint8Array([7]))),
      note("last", one.run({ a, b })),
      note("dispose", one.dispose()),
      note("other", two.run({ x: float32([1], f32(1)) })),
    ]);
    expect(settled).toEqual(["large", "mismatched failed", "small", "nonsense failed", "last", "dispose", "other"]);
    await two.dispose();
  });

  test("lets one call at a time into ONNX Runtime", async () => {
    let [inside, most, calls] = [0, 0, 0];
    const alone = async <T>(call: () => Promise<T>): Promise<T> => {
      calls++;
      most = Math.max(most, ++inside);
      await new Promise((done) => setTimeout(done, 2));
      return call().finally(() => inside--);
    };
    const create = ort.InferenceSession.create as (
      bytes: Uint8Array,
      options: ort.InferenceSession.SessionOptions,
    ) => Promise<ort.InferenceSession>;
    vi.spyOn(ort.InferenceSession, "create").mockImplementation(((
      bytes: Uint8Array,
      options: ort.InferenceSession.SessionOptions,
    ) =>
      alone(async () => {
        const inner = await create(bytes, options);
        const [run, release] = [inner.run.bind(inner), inner.release.bind(inner)];
        inner.run = ((...args: Parameters<typeof run>) => alone(() => run(...args))) as typeof inner.run;
        inner.release = () => alone(release);
        return inner;
      })) as never);
    const use = () =>
      withSession(product, {}, async (session) => {
        const runs = [session.run({ a, b }), session.run(mismatched), session.run({ a, b })];
        return (await Promise.allSettled(runs)).map(({ status }) => status);
      });
    const outcomes = await Promise.all([use(), use(), use()]);
    expect(outcomes).toEqual(Array(3).fill(["fulfilled", "rejected", "fulfilled"]));
    expect([most, inside, calls]).toEqual([1, 0, 3 * (1 + 3 + 1)]);
  });
});

describe("disposal", () => {
  afterEach(() => vi.restoreAllMocks());

  test("twice is no error, and a run afterwards is rejected", async () => {
    const session = await openSession(product);
    const pending = session.run({ a, b });
    await Promise.all([session.dispose(), session.dispose()]);
    await session.dispose();
    expect((await pending).y?.dims).toEqual([2, 2]);
    const error = await thrownBy(() => session.run({ a, b }));
    expect([error.code, error.message]).toEqual(["runtime", "the session has been disposed"]);
  });

  test("withSession disposes when its user throws", async () => {
    let kept: Awaited<ReturnType<typeof openSession>> | undefined;
    const job = withSession(product, {}, async (session) => {
      kept = session;
      throw new Error("of the user");
    });
    await expect(job).rejects.toThrow("of the user");
    expect((await thrownBy(() => kept!.run({ a, b }))).message).toBe("the session has been disposed");
  });

  test("every session that is opened is released, failures or not", async () => {
    const created: ort.InferenceSession[] = [];
    let released = 0;
    const create = ort.InferenceSession.create as (...args: unknown[]) => Promise<ort.InferenceSession>;
    vi.spyOn(ort.InferenceSession, "create").mockImplementation((async (...args: unknown[]) => {
      const inner = await create(...args);
      const release = inner.release.bind(inner);
      inner.release = () => {
        released++;
        return release();
      };
      created.push(inner);
      return inner;
    }) as never);
    await runOnce(product, { a, b });
    await thrownBy(() => runOnce(product, mismatched));
    await thrownBy(() => runOnce(product, { a }));
    expect([created.length, released]).toEqual([3, 3]);
  });

  test("opening, running and disposing many times over does not grow the process", async () => {
    const n = 1024;
    const bytes = encodeModel(
      model({
        inputs: [valueInfo("x", "float32", [1, n])],
        outputs: [valueInfo("y", "float32", [1, n])],
        nodes: [node("MatMul", ["x", "w"], ["y"])],
        initializers: [floatTensor("w", [n, n], new Float32Array(n * n).fill(1))],
      }),
    );
    const x = float32([1, n], new Float32Array(n));
    const cycle = () => runOnce(bytes, { x });
    for (let i = 0; i < 10; i++) await cycle();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 60; i++) await cycle();
    // 60 sessions that stayed would hold 60 weights of 4 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });
});

describe("weights beside the model", () => {
  const weighty = model({
    inputs: [valueInfo("x", "float32", ["N", 48])],
    outputs: [valueInfo("y", "float32", ["N", 40])],
    nodes: [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "b"], ["y"])],
    initializers: [normalTensor("w", [48, 40], 3), normalTensor("b", [40], 4)],
  });
  const x = { x: float32([1, 48], new Float32Array(48).fill(0.5)) };
  const size = 4 * (48 * 40 + 40);
  afterEach(() => vi.restoreAllMocks());

  test.each([
    [size + 1, false],
    [size, true],
    [0, true],
  ])("from %d bytes on: %s", async (externalFrom, beside) => {
    const create = vi.spyOn(ort.InferenceSession, "create");
    const { y } = await runOnce(weighty, x, { externalFrom });
    const [bytes, options] = create.mock.calls[0] as unknown as [Uint8Array, ort.InferenceSession.SessionOptions];
    expect([options.externalData !== undefined, bytes.length < 4 * 48 * 40]).toEqual([beside, beside]);
    expect(y).toEqual((await runOnce(weighty, x)).y);
  });

  test("they are handed over as they lie in memory, in the middle of a larger buffer too", async () => {
    const w = weighty.graph.initializers.get("w")!;
    const whole = new Uint8Array(w.bytes.length + 24).fill(255);
    whole.set(w.bytes, 12);
    const bytes = whole.subarray(12, 12 + w.bytes.length);
    const initializers = new Map([...weighty.graph.initializers, ["w", { ...w, bytes }]]);
    const create = vi.spyOn(ort.InferenceSession, "create");
    const inside = { ...weighty, graph: { ...weighty.graph, initializers } };
    const { y } = await runOnce(inside, x, { externalFrom: 0 });
    const [, options] = create.mock.calls[0] as unknown as [Uint8Array, ort.InferenceSession.SessionOptions];
    const handed = options.externalData!.map((file) => (file as { data: Uint8Array }).data);
    expect(handed[0]).toBe(bytes);
    expect(y).toEqual((await runOnce(weighty, x)).y);
  });
});

test("a session has copies of its own: weights may change once it is open", async () => {
  const ones = () => new Float32Array(4096).fill(1);
  const [added, factor] = [ones(), ones()];
  const graph = model({
    inputs: [valueInfo("x", "float32", [4096])],
    outputs: [valueInfo("y", "float32", [4096])],
    nodes: [node("Mul", ["x", "factor"], ["p"]), node("Add", ["p", "added"], ["y"])],
    initializers: [floatTensor("added", [4096], added), floatTensor("factor", [4096], factor)],
  });
  await withSession(graph, { externalFrom: 0 }, async (session) => {
    added.fill(100);
    factor.fill(100);
    expect((await session.run({ x: float32([4096], ones()) })).y!.data).toEqual(new Float32Array(4096).fill(2));
  });
});

describe("float16", () => {
  const halves = (...values: number[]): NdArray => ({ type: "float16", dims: [3], data: Uint16Array.from(values) });

  test("takes float32 and gives float32 back", async () => {
    const { y } = await runOnce(unary("Neg", "float16"), { x: float32([3], f32(1, -2.5, 2 ** -24)) });
    expect(y).toEqual(float32([3], f32(-1, 2.5, -(2 ** -24))));
  });

  test("where bits go in, bits come out", async () => {
    const { y } = await runOnce(unary("Neg", "float16"), { x: halves(0x3c00, 0, 0x8001) });
    expect(y).toEqual(halves(0xbc00, 0x8000, 0x0001));
  });

  test("other inputs are not converted", async () => {
    const error = await thrownBy(() => runOnce(unary("Neg", "float64"), { x: float32([3], f32(1, 2, 3)) }));
    expect(error.message).toBe("input x is float32; the model wants float64");
  });
});

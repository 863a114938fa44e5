// Channel groups, checked by brute force: with the weights that read some of a group's channels set to zero, the network without them
// answers the same.

import { describe, expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floats, floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { random, shuffle } from "../../src/linalg/random.ts";
import { float32, withSession } from "../../src/runtime/session.ts";
import { cutChannels } from "../../src/slim/cut.ts";
import { type ChannelGroup, channelGroups, groupName } from "../../src/slim/groups.ts";
import { FAMILIES } from "../support/families.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";
import { ZOO } from "../support/zoo.ts";

const shapesOf = (net: Model) => {
  const [input] = net.graph.inputs;
  return { [input!.name]: input!.shape!.map((dim) => (typeof dim === "number" ? dim : 1)) };
};

async function outputsOf(net: Model): Promise<readonly Float32Array[]> {
  const [input] = net.graph.inputs;
  const dims = input!.shape!.map((dim) => (typeof dim === "number" ? dim : 1));
  const data = normal(
    dims.reduce((a, b) => a * b),
    7,
  );
  return withSession(net, {}, async (session) => {
    const found = await session.run({ [input!.name]: float32(dims, data) });
    return net.graph.outputs.map(({ name }) => found[name]!.data as Float32Array);
  });
}

/** The model with zeros, in every weight that reads them, for these channels of a group; and noise in the weights that make them. */
function without(net: Model, { sites }: ChannelGroup, gone: ReadonlySet<number>): Model {
  const initializers = new Map(net.graph.initializers);
  for (const { site, channels } of sites) {
    if (site.kind !== "reads" && site.kind !== "makes") continue;
    const name = site.node.inputs[site.input]!;
    const tensor = initializers.get(name)!;
    const values = floats(tensor).slice() as Float32Array<ArrayBuffer>;
    const inner = tensor.dims.slice(site.axis + 1).reduce((a, b) => a * b, 1);
    for (let i = 0; i < values.length; i++) {
      const entry = Math.floor(i / inner) % tensor.dims[site.axis]!;
      if (gone.has(channels[entry]!)) values[i] = site.kind === "reads" ? 0 : values[i]! + 0.5;
    }
    initializers.set(name, floatTensor(name, tensor.dims, values));
  }
  return { ...net, graph: { ...net.graph, initializers } };
}

const named = (net: Model) => new Map(channelGroups(net, shapesOf(net)).map((group) => [groupName(group), group]));

const ALL = { ...FAMILIES, ...Object.fromEntries(Object.entries(ZOO).map(([name, make]) => [`zoo: ${name}`, make])) };

describe.each(Object.entries(ALL))("%s", (_, make) => {
  const net = make();
  const groups = channelGroups(net, shapesOf(net));
  const open = groups.filter(({ refused }) => refused === null);

  test("has groups that can be cut, and names of its own for each", () => {
    expect(open.length).toBeGreaterThan(0);
    expect(new Set(groups.map(groupName)).size).toBe(groups.length);
  });

  test("each group, cut, answers as with its readers' weights at zero", async () => {
    for (const [index, group] of open.entries()) {
      const order = shuffle(
        random(index),
        Int32Array.from({ length: group.count }, (_, i) => i),
      );
      const kept = order.slice(0, Math.ceil(group.count / 3)).sort();
      const gone = new Set(order.slice(kept.length));
      const expected = await outputsOf(without(net, group, gone));
      const actual = await outputsOf(cutChannels(net, new Map([[group, kept]])));
      for (const [i, values] of expected.entries()) {
        expect(relativeDifference(actual[i]!, values), groupName(group)).toBeLessThan(2e-5);
      }
    }
  });

  test("all groups, cut at once", async () => {
    let zeroed = net;
    const kept = new Map<ChannelGroup, Int32Array>();
    for (const [index, group] of open.entries()) {
      const order = shuffle(
        random(100 + index),
        Int32Array.from({ length: group.count }, (_, i) => i),
      );
      kept.set(group, order.slice(0, Math.ceil(group.count / 2)).sort());
      zeroed = without(zeroed, group, new Set(order.slice(Math.ceil(group.count / 2))));
    }
    const cut = cutChannels(net, kept);
    const weights = ({ graph }: Model) =>
      [...graph.initializers.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(weights(cut)).toBeLessThan(0.8 * weights(net));
    const [expected, actual] = [await outputsOf(zeroed), await outputsOf(cut)];
    for (const [i, values] of expected.entries()) expect(relativeDifference(actual[i]!, values)).toBeLessThan(2e-5);
  });
});

describe("what belongs together", () => {
  test("a residual stream is one group, of all that add to it", () => {
    const groups = named(FAMILIES.ResNet!());
    const stream = [...groups.values()].find(({ makers }) => makers.length === 3)!;
    expect(stream.count).toBe(16);
    expect(stream.readers).toHaveLength(4);
  });

  test("an inverted residual's middle is one group, through its depthwise convolution", () => {
    const wide = [...named(FAMILIES.MobileNetV2!()).values()].filter(({ count }) => count === 64);
    expect(wide).toHaveLength(2);
    for (const { makers, readers, refused } of wide)
      expect([makers.length, readers.length, refused]).toEqual([1, 1, null]);
  });

  test("a gate goes with what it gates", () => {
    const group = [...named(FAMILIES.MobileNetV3!()).values()].find(({ count }) => count === 48)!;
    expect(group.makers).toHaveLength(2);
    expect(group.readers).toHaveLength(2);
  });

  test("groups of a grouped convolution lose the same", () => {
    const group = [...named(FAMILIES.ShuffleNet!()).values()].find(
      ({ count, sites }) => count === 8 && sites.length > 0,
    )!;
    expect(group.refused).toBeNull();
  });

  test("what reaches an output stays", () => {
    const groups = [...named(FAMILIES.VGG!()).values()];
    expect(groups.at(-1)!.refused).toMatch(/^it reaches the output/);
    expect(groups.slice(0, -1).every(({ refused }) => refused === null)).toBe(true);
  });
});

describe("what is refused, and why", () => {
  const through = (nodes: readonly ReturnType<typeof node>[], tensors: readonly ReturnType<typeof intTensor>[] = []) =>
    model({
      inputs: [valueInfo("x", "float32", ["N", 3, 8, 8])],
      outputs: [valueInfo("y", "float32", null)],
      nodes: [
        node("Conv", ["x", "w1"], ["a"], { pads: ints([1, 1, 1, 1]) }, "first"),
        ...nodes,
        node("Conv", ["b", "w2"], ["y"], {}, "second"),
      ],
      initializers: [normalTensor("w1", [16, 3, 3, 3], 1), normalTensor("w2", [10, 16, 1, 1], 2), ...tensors],
    });

  test.each([
    ["LRN norm reads it", [node("LRN", ["a"], ["b"], { size: int(3) }, "norm")], []],
    ["sums over it", [node("Softmax", ["a"], ["b"], { axis: int(1) }, "soft")], []],
    [
      "joins it with some, whose channels cannot go",
      [
        node("Concat", ["x", "x", "x", "x", "x", "x"], ["many"], { axis: int(1) }),
        node("Slice", ["many", "s", "e", "i"], ["some"]),
        node("Add", ["a", "some"], ["b"]),
      ],
      [intTensor("s", [0]), intTensor("e", [16]), intTensor("i", [1])],
    ],
    [
      "takes some of them by number",
      [node("Gather", ["a", "order"], ["b"], { axis: int(1) })],
      [intTensor("order", [...Array(16).keys()].reverse())],
    ],
    [
      "DepthToSpace",
      [
        node("DepthToSpace", ["a"], ["c"], { blocksize: int(2) }, "d"),
        node("SpaceToDepth", ["c"], ["b"], { blocksize: int(2) }),
      ],
      [],
    ],
  ] as const)("%s", (reason, nodes, tensors) => {
    const net = through(nodes, tensors);
    const group = channelGroups(net, shapesOf(net)).find(({ makers }) => makers.includes("first"));
    expect(group?.refused).toContain(reason);
  });
});

// One small network of each kind of answers, with seeded weights: the same trunk on 3x32x32 images and a head in the form that exporters
// write. The last layer's gain makes answers as decided as those of a trained network.

import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Dim, ElementType, Model, Node, Tensor } from "../../src/graph/model.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { normalTensor } from "./nets.ts";

type Output = readonly [name: string, type: ElementType, shape: readonly Dim[]];

export class Net {
  readonly nodes: Node[] = [];
  readonly tensors: Tensor[] = [];
  private count = 0;

  add(
    op: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    outputs?: readonly string[],
  ): string {
    const name = `${op.toLowerCase()}${this.count++}`;
    this.nodes.push(node(op, inputs, outputs ?? [`${name}_out`], attributes, name));
    return outputs?.[0] ?? `${name}_out`;
  }

  weight(dims: readonly number[], scale: number): string {
    const name = `w${this.tensors.length}`;
    this.tensors.push(normalTensor(name, dims, this.tensors.length + 1, scale));
    return name;
  }

  constant(tensor: Tensor): string {
    this.tensors.push(tensor);
    return tensor.name;
  }

  shape = (name: string, dims: readonly number[]) => this.constant(intTensor(name, dims));
  scalar = (name: string, value: number) => this.constant(floatTensor(name, [], Float32Array.of(value)));

  conv(x: string, C: number, F: number, kernel = 3, stride = 1, gain = 1): string {
    const pad = kernel >> 1;
    const w = this.weight([F, C, kernel, kernel], gain * Math.sqrt(2 / (C * kernel * kernel)));
    return this.add("Conv", [x, w, this.weight([F], 0.1)], {
      kernel_shape: ints([kernel, kernel]),
      strides: ints([stride, stride]),
      pads: ints([pad, pad, pad, pad]),
    });
  }

  fc(x: string, C: number, F: number, gain = 1): string {
    return this.add("Gemm", [x, this.weight([F, C], gain / Math.sqrt(C)), this.weight([F], 0.1)], { transB: int(1) });
  }

  relu = (x: string) => this.add("Relu", [x]);
  reshape = (x: string, name: string, dims: readonly number[]) => this.add("Reshape", [x, this.shape(name, dims)]);
  transpose = (x: string, perm: readonly number[]) => this.add("Transpose", [x], { perm: ints(perm) });
  concat = (parts: readonly string[], axis: number, outputs?: readonly string[]) =>
    this.add("Concat", parts, { axis: int(axis) }, outputs);

  slice(x: string, name: string, from: number, to: number, axis: number): string {
    const at = (what: string, value: number) => this.shape(`${name}_${what}`, [value]);
    return this.add("Slice", [x, at("from", from), at("to", to), at("axis", axis)]);
  }

  /** 32 channels of 8 x 8. */
  trunk(): string {
    const first = this.relu(this.conv("image", 3, 16, 3, 2));
    return this.relu(this.conv(this.relu(this.conv(first, 16, 32, 3, 2)), 32, 32));
  }

  vector(x: string): string {
    return this.add("Flatten", [this.add("GlobalAveragePool", [x])]);
  }

  model(outputs: readonly Output[], batch: Dim = "N"): Model {
    return model({
      inputs: [valueInfo("image", "float32", [batch, 3, 32, 32])],
      outputs: outputs.map(([name, type, shape]) => valueInfo(name, type, shape)),
      nodes: this.nodes,
      initializers: this.tensors,
    });
  }
}

/** A maker of a name for the last value of a net. */
const named = (net: Net, value: string, name: string): string => net.add("Identity", [value], {}, [name]);

export function classifier(): Model {
  const net = new Net();
  named(net, net.fc(net.vector(net.trunk()), 32, 10, 12), "out");
  return net.model([["out", "float32", ["N", 10]]]);
}

/** An ArgMax inside: the output is the class's number. */
export function numberedClassifier(): Model {
  const net = new Net();
  net.add("ArgMax", [net.fc(net.vector(net.trunk()), 32, 10, 12)], { axis: int(1), keepdims: int(0) }, ["class"]);
  return net.model([["class", "int64", ["N"]]]);
}

/** A small U-Net with a class of four a pixel; `inside`: an ArgMax makes numbers of them, cast to int32. */
export function segmenter(inside: boolean): Model {
  const net = new Net();
  const top = net.relu(net.conv("image", 3, 16, 3));
  const down = net.relu(net.conv(top, 16, 32, 3, 2));
  const deep = net.relu(net.conv(down, 32, 32));
  const up = net.add("Resize", [deep, "", net.constant(floatTensor("sizes", [4], Float32Array.of(1, 1, 2, 2)))]);
  const scores = net.conv(net.relu(net.conv(net.concat([up, top], 1), 48, 24)), 24, 4, 1, 1, 8);
  if (!inside) {
    named(net, scores, "scores");
    return net.model([["scores", "float32", ["N", 4, 32, 32]]]);
  }
  const map = net.add("ArgMax", [scores], { axis: int(1), keepdims: int(0) });
  net.add("Cast", [map], { to: int(6) }, ["map"]);
  return net.model([["map", "int32", ["N", 32, 32]]]);
}

export function masker(): Model {
  const net = new Net();
  const w = net.weight([32, 16, 2, 2], 0.15);
  const up = net.relu(
    net.add("ConvTranspose", [net.trunk(), w], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }),
  );
  net.add("Sigmoid", [net.conv(up, 16, 1, 3, 1, 25)], {}, ["mask"]);
  return net.model([["mask", "float32", ["N", 1, 16, 16]]]);
}

const CELLS = 64;

/** Boxes of 64 cells, decoded as YOLO does: [N, 4, 64], in pixels, and scores [N, K, 64] after a sigmoid. */
function yoloParts(net: Net, K: number, objectness = false) {
  const scored = objectness ? K + 1 : K;
  const raw = net.reshape(net.conv(net.trunk(), 32, 4 + scored, 1, 1, 5), "cells", [0, 4 + scored, CELLS]);
  const grid = Float32Array.from({ length: 2 * CELLS }, (_, i) => (i < CELLS ? (i % 8) * 4 : ((i - CELLS) >> 3) * 4));
  const centres = net.constant(floatTensor("grid", [1, 2, CELLS], grid));
  const half = net.add("Sigmoid", [net.slice(raw, "centre", 0, 2, 1)]);
  const centre = net.add("Add", [net.add("Mul", [half, net.scalar("stride", 4)]), centres]);
  const sized = net.add("Sigmoid", [net.slice(raw, "size", 2, 4, 1)]);
  const size = net.add("Add", [net.add("Mul", [sized, net.scalar("largest", 16)]), net.scalar("least", 4)]);
  const shifted = net.add("Sub", [net.slice(raw, "scores", 4, 4 + scored, 1), net.scalar("shift", 3)]);
  return { centre, size, scores: net.add("Sigmoid", [shifted]) };
}

/** [N, 4 + 3, 64], as v8 to v11 write it, or [N, 64, 5 + 3], as v5 does. */
export function yolo(objectness: boolean): Model {
  const net = new Net();
  const { centre, size, scores } = yoloParts(net, 3, objectness);
  if (!objectness) {
    net.concat([centre, size, scores], 1, ["output0"]);
    return net.model([["output0", "float32", ["N", 7, CELLS]]]);
  }
  net.add("Transpose", [net.concat([centre, size, scores], 1)], { perm: ints([0, 2, 1]) }, ["output0"]);
  return net.model([["output0", "float32", ["N", CELLS, 8]]]);
}

/** Boxes by corners [N, 64, 4] and a softmax over nothing and two classes [N, 64, 3], as SSD has them. */
export function ssd(): Model {
  const net = new Net();
  const { centre, size } = yoloParts(net, 2);
  const half = net.add("Mul", [size, net.scalar("half", 0.5)]);
  const corners = net.concat([net.add("Sub", [centre, half]), net.add("Add", [centre, half])], 1);
  net.add("Transpose", [corners], { perm: ints([0, 2, 1]) }, ["boxes"]);
  const raw = net.reshape(net.conv(net.trunk(), 32, 3, 1, 1, 4), "rows", [0, 3, CELLS]);
  const bias = net.constant(floatTensor("nothing", [1, 3, 1], Float32Array.of(4, 0, 0)));
  net.add("Softmax", [net.transpose(net.add("Add", [raw, bias]), [0, 2, 1])], { axis: int(2) }, ["scores"]);
  return net.model([
    ["boxes", "float32", ["N", CELLS, 4]],
    ["scores", "float32", ["N", CELLS, 3]],
  ]);
}

/** The same with suppression inside: rows of left, top, right, bottom, score and class, for one image. */
export function suppressed(): Model {
  const net = new Net();
  const { centre, size, scores } = yoloParts(net, 3);
  const half = net.add("Mul", [size, net.scalar("half", 0.5)]);
  const boxes = net.transpose(
    net.concat([net.add("Sub", [centre, half]), net.add("Add", [centre, half])], 1),
    [0, 2, 1],
  );
  const most = net.shape("most", [CELLS]);
  const limits = [0.45, 0.25].map((limit, i) => net.constant(floatTensor(`limit${i}`, [1], Float32Array.of(limit))));
  const selected = net.add("NonMaxSuppression", [boxes, scores, most, ...limits]);
  const column = (name: string, i: number) =>
    net.add("Squeeze", [net.slice(selected, name, i, i + 1, 1), net.shape(`${name}_axis`, [1])]);
  const [label, anchor] = [column("label", 1), column("anchor", 2)];
  const flatBoxes = net.reshape(boxes, "flat", [-1, 4]);
  const found = net.add("Gather", [flatBoxes, anchor], { axis: int(0) });
  const place = net.add("Add", [net.add("Mul", [label, net.constant(intTensor("cells64", [CELLS]))]), anchor]);
  const score = net.add("Gather", [net.reshape(scores, "flat_scores", [-1]), place], { axis: int(0) });
  const upright = (value: string, name: string) => net.add("Unsqueeze", [value, net.shape(name, [1])]);
  const asFloat = net.add("Cast", [label], { to: int(1) });
  net.concat([found, upright(score, "up_score"), upright(asFloat, "up_label")], 1, ["detections"]);
  return net.model([["detections", "float32", [null, 6]]], 1);
}

/** A line of 16 steps over 12 letters and a blank, after a softmax. */
export function reader(): Model {
  const net = new Net();
  const deep = net.conv(net.trunk(), 32, 13, 3, 1, 8);
  const lines = net.reshape(deep, "lines", [0, 13, CELLS]);
  const bias = net.constant(
    floatTensor(
      "blank",
      [1, 13, 1],
      Float32Array.from({ length: 13 }, (_, k) => (k === 0 ? 25 : 0)),
    ),
  );
  net.add("Softmax", [net.transpose(net.add("Add", [lines, bias]), [0, 2, 1])], { axis: int(2) }, ["text"]);
  return net.model([["text", "float32", ["N", CELLS, 13]]]);
}

export function embedder(): Model {
  const net = new Net();
  const vector = net.fc(net.vector(net.trunk()), 32, 48, 2);
  net.add("LpNormalization", [vector], { axis: int(1), p: int(2) }, ["face"]);
  return net.model([["face", "float32", ["N", 48]]]);
}

/** Picture to picture. */
export function painter(): Model {
  const net = new Net();
  const wide = net.relu(net.conv(net.relu(net.conv("image", 3, 24, 5)), 24, 24));
  net.add("Tanh", [net.conv(wide, 24, 3, 3)], {}, ["picture"]);
  return net.model([["picture", "float32", ["N", 3, 32, 32]]]);
}

export function regressor(): Model {
  const net = new Net();
  named(net, net.fc(net.vector(net.trunk()), 32, 1), "age");
  return net.model([["age", "float32", ["N", 1]]]);
}

/** Several heads on one trunk, their numbers of very different sizes: classes, a mask, and landmarks in pixels. */
export function severalHeads(): Model {
  const net = new Net();
  const trunk = net.trunk();
  const vector = net.vector(trunk);
  named(net, net.fc(vector, 32, 5, 12), "class_scores");
  net.add("Sigmoid", [net.conv(trunk, 32, 1, 3, 1, 25)], {}, ["mask"]);
  const marks = net.add("Mul", [net.fc(vector, 32, 10), net.scalar("pixels", 100)]);
  named(net, marks, "landmarks");
  return net.model([
    ["class_scores", "float32", ["N", 5]],
    ["mask", "float32", ["N", 1, 8, 8]],
    ["landmarks", "float32", ["N", 10]],
  ]);
}

/** All of them, with the kinds that their heads are of, in the order of the heads. */
export const ANSWER_NETS = {
  classifier: { build: classifier, kinds: ["classes"] },
  "class number": { build: numberedClassifier, kinds: ["classes"] },
  segmenter: { build: () => segmenter(false), kinds: ["class-map"] },
  "segmenter with ArgMax": { build: () => segmenter(true), kinds: ["class-map"] },
  mask: { build: masker, kinds: ["mask"] },
  "YOLO v8": { build: () => yolo(false), kinds: ["boxes"] },
  "YOLO v5": { build: () => yolo(true), kinds: ["boxes"] },
  SSD: { build: ssd, kinds: ["boxes"] },
  "suppression inside": { build: suppressed, kinds: ["boxes"] },
  text: { build: reader, kinds: ["text"] },
  embedding: { build: embedder, kinds: ["embedding"] },
  picture: { build: painter, kinds: ["values"] },
  regression: { build: regressor, kinds: ["values"] },
  "several heads": { build: severalHeads, kinds: ["classes", "mask", "values"] },
} as const;

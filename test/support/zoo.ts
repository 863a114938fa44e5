// Ten networks of different kinds, small, with seeded weights: classifiers of 3x24x24 images into ten classes.

import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { normalTensor } from "./nets.ts";

/** Puts nodes and weights together; values are named as they come. */
class Builder {
  readonly nodes: Node[] = [];
  readonly tensors: Tensor[] = [];
  private count = 0;

  private add(op: string, inputs: string[], attributes: Node["attributes"] = {}): string {
    const name = `${op.toLowerCase()}${this.count++}`;
    this.nodes.push(node(op, inputs, [`${name}_out`], attributes, name));
    return `${name}_out`;
  }

  private weight(dims: number[], scale: number): string {
    const name = `w${this.tensors.length}`;
    this.tensors.push(normalTensor(name, dims, this.tensors.length + 1, scale));
    return name;
  }

  conv(
    x: string,
    C: number,
    F: number,
    kernel: number,
    { stride = 1, dilation = 1, group = 1 }: { stride?: number; dilation?: number; group?: number } = {},
  ): string {
    const pad = (dilation * (kernel - 1)) >> 1;
    const w = this.weight([F, C / group, kernel, kernel], Math.sqrt(2 / ((C / group) * kernel * kernel)));
    return this.add("Conv", [x, w, this.weight([F], 0.1)], {
      kernel_shape: ints([kernel, kernel]),
      strides: ints([stride, stride]),
      dilations: ints([dilation, dilation]),
      pads: ints([pad, pad, pad, pad]),
      group: int(group),
    });
  }

  up(x: string, C: number, F: number): string {
    const w = this.weight([C, F, 2, 2], 0.2);
    return this.add("ConvTranspose", [x, w], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  }

  fc(x: string, C: number, F: number): string {
    return this.add("Gemm", [x, this.weight([F, C], 1 / Math.sqrt(C)), this.weight([F], 0.1)], { transB: int(1) });
  }

  relu = (x: string) => this.add("Relu", [x]);
  sigmoid = (x: string) => this.add("Sigmoid", [x]);
  sum = (a: string, b: string) => this.add("Add", [a, b]);
  product = (a: string, b: string) => this.add("Mul", [a, b]);
  concat = (...parts: string[]) => this.add("Concat", parts, { axis: int(1) });
  pool = (x: string) => this.add("MaxPool", [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  flat = (x: string) => this.add("Flatten", [x]);
  mean = (x: string) => this.add("GlobalAveragePool", [x]);

  /** Ends in ten scores, from the mean of `C` channels. */
  classifier(x: string, C: number): Model {
    return this.end(this.fc(this.flat(this.mean(x)), C, 10));
  }

  end(scores: string): Model {
    const last = this.nodes.at(-1)!;
    this.nodes[this.nodes.length - 1] = { ...last, outputs: ["scores"] };
    return model({
      inputs: [valueInfo("image", "float32", ["N", 3, 24, 24])],
      outputs: [valueInfo("scores", "float32", ["N", 10])],
      nodes: this.nodes.map((each) => ({ ...each, inputs: each.inputs.map((x) => (x === scores ? "scores" : x)) })),
      initializers: this.tensors,
    });
  }
}

const net = (make: (b: Builder) => Model): Model => make(new Builder());

export const ZOO: Readonly<Record<string, () => Model>> = {
  plain: () =>
    net((b) => {
      const x = b.pool(b.relu(b.conv("image", 3, 32, 3)));
      return b.classifier(b.relu(b.conv(b.relu(b.conv(x, 32, 64, 3)), 64, 64, 3)), 64);
    }),
  residual: () =>
    net((b) => {
      let x = b.relu(b.conv("image", 3, 32, 3, { stride: 2 }));
      for (let i = 0; i < 3; i++) x = b.relu(b.sum(x, b.conv(b.relu(b.conv(x, 32, 32, 3)), 32, 32, 3)));
      return b.classifier(x, 32);
    }),
  depthwise: () =>
    net((b) => {
      let x = b.relu(b.conv("image", 3, 32, 3, { stride: 2 }));
      for (let i = 0; i < 3; i++) x = b.relu(b.conv(b.relu(b.conv(x, 32, 32, 3, { group: 32 })), 32, 32, 1));
      return b.classifier(x, 32);
    }),
  inverted: () =>
    net((b) => {
      let x = b.conv("image", 3, 24, 3, { stride: 2 });
      for (let i = 0; i < 2; i++) {
        const wide = b.relu(b.conv(b.relu(b.conv(x, 24, 96, 1)), 96, 96, 3, { group: 96 }));
        x = b.sum(x, b.conv(wide, 96, 24, 1));
      }
      return b.classifier(x, 24);
    }),
  branches: () =>
    net((b) => {
      const x = b.pool(b.relu(b.conv("image", 3, 32, 5)));
      const parts = [b.conv(x, 32, 24, 1), b.conv(b.relu(b.conv(x, 32, 24, 1)), 24, 32, 3), b.conv(x, 32, 16, 5)];
      return b.classifier(b.relu(b.concat(...parts)), 72);
    }),
  "dense blocks": () =>
    net((b) => {
      let x = b.relu(b.conv("image", 3, 24, 3, { stride: 2 }));
      for (let i = 0; i < 3; i++) x = b.concat(x, b.relu(b.conv(x, 24 + 16 * i, 16, 3)));
      return b.classifier(x, 72);
    }),
  "large kernels": () =>
    net((b) => {
      const x = b.relu(b.conv("image", 3, 48, 11, { stride: 4 }));
      return b.classifier(b.relu(b.conv(b.relu(b.conv(x, 48, 64, 5)), 64, 64, 5)), 64);
    }),
  "fully connected": () =>
    net((b) => {
      const x = b.flat(b.pool(b.relu(b.conv("image", 3, 16, 3))));
      return b.end(b.fc(b.relu(b.fc(b.relu(b.fc(x, 2304, 256)), 256, 256)), 256, 10));
    }),
  dilated: () =>
    net((b) => {
      const x = b.relu(b.conv("image", 3, 32, 3));
      const y = b.relu(b.conv(b.relu(b.conv(x, 32, 32, 3, { dilation: 2 })), 32, 32, 3, { dilation: 4 }));
      return b.classifier(b.relu(b.up(b.pool(y), 32, 32)), 32);
    }),
  "squeeze and excite": () =>
    net((b) => {
      const x = b.relu(b.conv("image", 3, 64, 3, { stride: 2 }));
      const y = b.relu(b.conv(x, 64, 64, 3));
      const gate = b.sigmoid(b.conv(b.relu(b.conv(b.mean(y), 64, 16, 1)), 16, 64, 1));
      return b.classifier(b.sum(x, b.product(y, gate)), 64);
    }),
};

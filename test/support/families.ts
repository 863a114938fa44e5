// Small networks, with seeded weights, in the manner of ten families that are in use: what their channels go through differs.

import { float, int, ints, model, string, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { Net } from "./answer-nets.ts";
import { normalTensor } from "./nets.ts";

class Family extends Net {
  private made = 0;

  grouped(x: string, C: number, F: number, group: number, kernel = 3, stride = 1): string {
    const w = this.weight([F, C / group, kernel, kernel], Math.sqrt(2 / ((C / group) * kernel * kernel)));
    const pad = kernel >> 1;
    return this.add("Conv", [x, w, this.weight([F], 0.1)], {
      group: int(group),
      pads: ints([pad, pad, pad, pad]),
      strides: ints([stride, stride]),
    });
  }

  norm(x: string, C: number): string {
    const id = this.made++;
    const positive = normalTensor(`bnv${id}`, [C], 90 + id, 0.1);
    const values = new Float32Array(positive.bytes.buffer).map((value) => 1 + value * value);
    const variance = { ...positive, bytes: new Uint8Array(values.buffer) };
    const own = [this.weight([C], 1), this.weight([C], 0.2), this.weight([C], 0.2), this.constant(variance)];
    return this.add("BatchNormalization", [x, ...own], { epsilon: float(1e-3) });
  }

  swish = (x: string) => this.add("Mul", [x, this.add("Sigmoid", [x])]);
  pool = (x: string) => this.add("MaxPool", [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  sum = (a: string, b: string) => this.add("Add", [a, b]);
  mean = (x: string) => this.add("GlobalAveragePool", [x]);

  /** Squeeze and excitation. */
  gated(x: string, C: number, inner: number): string {
    const squeezed = this.relu(this.conv(this.mean(x), C, inner, 1));
    return this.add("Mul", [x, this.add("HardSigmoid", [this.conv(squeezed, inner, C, 1)])]);
  }

  shuffled(x: string, C: number, groups: number, size: number): string {
    const id = this.made++;
    const apart = this.reshape(x, `apart${id}`, [-1, groups, C / groups, size, size]);
    return this.reshape(this.transpose(apart, [0, 2, 1, 3, 4]), `together${id}`, [-1, C, size, size]);
  }

  classifier(x: string, C: number): Model {
    return this.end(this.fc(this.add("Flatten", [this.mean(x)]), C, 10));
  }

  end(...outputs: string[]): Model {
    return model({
      inputs: [valueInfo("image", "float32", ["N", 3, 32, 32])],
      outputs: outputs.map((name) => valueInfo(name, "float32", null)),
      nodes: this.nodes,
      initializers: this.tensors,
    });
  }
}

const family = (make: (n: Family) => Model) => (): Model => make(new Family());

export const FAMILIES: Readonly<Record<string, () => Model>> = {
  VGG: family((n) => {
    const x = n.pool(n.relu(n.conv(n.relu(n.conv("image", 3, 16)), 16, 24)));
    const flat = n.add("Flatten", [n.pool(n.pool(n.relu(n.norm(n.conv(x, 24, 32), 32))))]);
    return n.end(n.fc(n.relu(n.fc(flat, 512, 48)), 48, 10));
  }),
  ResNet: family((n) => {
    let x = n.relu(n.norm(n.conv("image", 3, 16, 3, 2), 16));
    for (let i = 0; i < 2; i++) x = n.relu(n.sum(n.conv(n.relu(n.conv(x, 16, 16)), 16, 16), x));
    x = n.relu(n.sum(n.conv(n.relu(n.conv(x, 16, 32, 3, 2)), 32, 32), n.conv(x, 16, 32, 1, 2)));
    return n.classifier(n.relu(n.sum(n.conv(n.relu(n.conv(x, 32, 8, 1)), 8, 32, 1), x)), 32);
  }),
  MobileNetV2: family((n) => {
    let x = n.conv("image", 3, 16, 3, 2);
    for (let i = 0; i < 2; i++) {
      const wide = n.relu(n.norm(n.grouped(n.relu(n.norm(n.conv(x, 16, 64, 1), 64)), 64, 64, 64), 64));
      x = n.sum(x, n.conv(wide, 64, 16, 1));
    }
    return n.classifier(x, 16);
  }),
  MobileNetV3: family((n) => {
    let x = n.add("HardSwish", [n.conv("image", 3, 16, 3, 2)]);
    const wide = n.add("HardSwish", [n.grouped(n.add("HardSwish", [n.conv(x, 16, 48, 1)]), 48, 48, 48, 5)]);
    x = n.sum(x, n.conv(n.gated(wide, 48, 12), 48, 16, 1));
    const slope = n.weight([16, 1, 1], 0.3);
    return n.classifier(n.add("PRelu", [x, slope]), 16);
  }),
  ShuffleNet: family((n) => {
    const x = n.relu(n.conv("image", 3, 24, 3, 2));
    const inner = n.shuffled(n.relu(n.grouped(x, 24, 24, 3, 1)), 24, 3, 16);
    const joined = n.sum(x, n.grouped(n.grouped(inner, 24, 24, 24), 24, 24, 3, 1));
    const [left, right] = ["left", "right"];
    n.add("Split", [joined, n.shape("halves", [12, 12])], { axis: int(1) }, [left, right]);
    const mixed = n.concat([left, n.relu(n.conv(right, 12, 12, 1))], 1);
    return n.classifier(n.conv(n.shuffled(mixed, 24, 2, 16), 24, 20, 1), 20);
  }),
  EfficientNet: family((n) => {
    let x = n.swish(n.norm(n.conv("image", 3, 16, 3, 2), 16));
    for (let i = 0; i < 2; i++) {
      const wide = n.swish(n.grouped(n.swish(n.conv(x, 16, 48, 1)), 48, 48, 48));
      const squeezed = n.add("ReduceMean", [wide], { axes: ints([2, 3]), keepdims: int(1) });
      const gate = n.add("Sigmoid", [n.conv(n.swish(n.conv(squeezed, 48, 8, 1)), 8, 48, 1)]);
      x = n.sum(n.conv(n.add("Mul", [gate, wide]), 48, 16, 1), x);
    }
    const pooled = n.add("ReduceMean", [n.conv(x, 16, 40, 1)], { axes: ints([2, 3]), keepdims: int(0) });
    return n.end(n.fc(pooled, 40, 10));
  }),
  DenseNet: family((n) => {
    let x = n.relu(n.conv("image", 3, 24, 3, 2));
    for (let i = 0; i < 3; i++) {
      const C = 24 + 12 * i;
      x = n.concat([x, n.conv(n.relu(n.norm(n.conv(n.relu(n.norm(x, C)), C, 32, 1), 32)), 32, 12)], 1);
    }
    return n.classifier(n.relu(n.norm(x, 60)), 60);
  }),
  Inception: family((n) => {
    const x = n.pool(n.relu(n.conv("image", 3, 32, 5)));
    const pooled = n.add("MaxPool", [x], { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) });
    const parts = [n.conv(x, 32, 24, 1), n.conv(n.relu(n.conv(x, 32, 16, 1)), 16, 24), n.conv(pooled, 32, 16, 1)];
    const mixed = n.relu(n.concat(parts, 1));
    return n.classifier(n.relu(n.conv(mixed, 64, 32)), 32);
  }),
  "U-Net": family((n) => {
    const one = n.relu(n.conv("image", 3, 16));
    const two = n.relu(n.conv(n.pool(one), 16, 32));
    const three = n.relu(n.conv(n.pool(two), 32, 48));
    const up = n.add("Resize", [three, "", "", n.shape("sizes", [1, 48, 16, 16])], { mode: string("nearest") });
    const back = n.relu(n.conv(n.concat([up, two], 1), 80, 32));
    const w = n.weight([32, 16, 2, 2], 0.2);
    const wide = n.add("ConvTranspose", [back, w], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
    return n.end(n.conv(n.relu(n.conv(n.concat([wide, one], 1), 32, 16)), 16, 4, 1));
  }),
  YOLO: family((n) => {
    const x = n.swish(n.conv("image", 3, 16, 3, 2));
    const both = n.swish(n.conv(x, 16, 32, 1));
    n.add("Split", [both], { axis: int(1) }, ["first", "second"]);
    const third = n.sum("second", n.swish(n.conv(n.swish(n.conv("second", 16, 16)), 16, 16)));
    const mixed = n.swish(n.conv(n.concat(["first", "second", third], 1), 48, 32, 1));
    const pooled = n.add("MaxPool", [mixed], { kernel_shape: ints([5, 5]), pads: ints([2, 2, 2, 2]) });
    const neck = n.swish(n.conv(n.concat([mixed, pooled], 1), 64, 32, 1));
    const head = (F: number, name: string) =>
      n.reshape(n.conv(n.swish(n.conv(neck, 32, 24)), 24, F, 1), name, [1, F, 256]);
    return n.end(n.concat([head(4, "boxes"), n.add("Sigmoid", [head(6, "scores")])], 1));
  }),
  CRNN: family((n) => {
    const x = n.pool(n.relu(n.norm(n.conv(n.pool(n.relu(n.conv("image", 3, 16))), 16, 32), 32)));
    const flat = n.add("AveragePool", [n.relu(n.conv(x, 32, 40))], { kernel_shape: ints([8, 1]) });
    const steps = n.transpose(n.add("Squeeze", [flat, n.shape("height", [2])]), [2, 0, 1]);
    const hidden = n.relu(n.add("Add", [n.add("MatMul", [steps, n.weight([40, 36], 0.2)]), n.weight([36], 0.1)]));
    return n.end(n.add("Softmax", [n.add("MatMul", [hidden, n.weight([36, 12], 0.3)])], { axis: int(2) }));
  }),
};

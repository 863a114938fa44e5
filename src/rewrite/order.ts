// Orders of channels, and constants put into them. An order q takes channel q[i] to place i.

import type { Tensor } from "../graph/model.ts";
import { ELEMENT_BITS, elementCount } from "../graph/tensor.ts";

export type Order = readonly number[];

export const isIdentity = (order: Order): boolean => order.every((from, to) => from === to);

export function inverse(order: Order): Order {
  const back = new Array<number>(order.length);
  order.forEach((from, to) => {
    back[from] = to;
  });
  return back;
}

/** The order of whole blocks of `size` channels that an order amounts to, whatever it does within; null where it breaks one. */
export function blocksOf(order: Order, size: number): Order | null {
  const blocks: number[] = [];
  for (let at = 0; at < order.length; at += size) {
    const block = Math.floor(order[at]! / size);
    for (let i = at; i < at + size; i++) if (Math.floor(order[i]! / size) !== block) return null;
    blocks.push(block);
  }
  return blocks;
}

/** Blocks of `size` channels each in the given order, in order within. */
export const inBlocks = (blocks: Order, size: number): Order =>
  blocks.flatMap((block) => Array.from({ length: size }, (_, i) => block * size + i));

/**
 * A constant with one axis in another order, or with what `order` picks of it.
 * @param name of the new constant
 */
export function permuted(tensor: Tensor, axis: number, order: Order, name: string): Tensor {
  const inner = (elementCount(tensor.dims.slice(axis + 1)) * ELEMENT_BITS[tensor.type]) / 8;
  const outer = elementCount(tensor.dims.slice(0, axis));
  const bytes = new Uint8Array(outer * order.length * inner);
  const stride = tensor.dims[axis]! * inner;
  for (let o = 0; o < outer; o++) {
    order.forEach((from, to) => {
      const start = o * stride + from * inner;
      bytes.set(tensor.bytes.subarray(start, start + inner), (o * order.length + to) * inner);
    });
  }
  return { ...tensor, name, dims: tensor.dims.with(axis, order.length), bytes };
}

/**
 * A grouped convolution's weight W[F, C / group, ...] for an input in another order that leaves each group's channels with
 * the group, group `blocksOf(order)[b]` in place b.
 */
export function regrouped(weight: Tensor, order: Order, group: number, name: string): Tensor {
  const [F = 0, size = 0] = weight.dims;
  const rows = permuted(weight, 0, inBlocks(blocksOf(order, size)!, F / group), name);
  const each = rows.bytes.length / group;
  const bytes = new Uint8Array(rows.bytes.length);
  for (let b = 0; b < group; b++) {
    const block = { ...rows, dims: rows.dims.with(0, F / group), bytes: rows.bytes.subarray(b * each, (b + 1) * each) };
    const within = order.slice(b * size, (b + 1) * size).map((from) => from % size);
    bytes.set(permuted(block, 1, within, name).bytes, b * each);
  }
  return { ...rows, bytes };
}

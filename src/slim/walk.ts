// What channels of a network belong together, from the graph alone. Every entry along one axis of a value gets a label; operators pass
// labels on, give new ones, or say that two must be one (an Add). Where an operator has numbers of its own for the channels (weights,
// sizes in a Reshape) it leaves a site: what to change there once channels have gone.

import { constants } from "../graph/edit.ts";
import type { Model, Node, Tensor } from "../graph/model.ts";
import type { Value } from "../graph/shape-rules/call.ts";

/** The channels along one axis of a value: entry i belongs to the channel ids[i]. Several entries may belong to one. */
export interface Labels {
  readonly axis: number;
  readonly ids: Int32Array;
}

/**
 * A place that changes as channels go:
 * - `makes`, `reads`, `carries`: of a constant input those entries along an axis are taken out. A layer makes channels by the rows of its
 *   weight and its bias and reads them by the columns; all else carries them.
 * - `counts`: an element of a constant input, or of an attribute (null: the attribute itself), is the number of channels left.
 */
export type Site = {
  readonly node: Node;
  /** By entry, the channel that it belongs to. */
  readonly ids: Int32Array;
} & (
  | { readonly kind: "makes" | "reads" | "carries"; readonly input: number; readonly axis: number }
  | { readonly kind: "counts"; readonly input: number; readonly element: number }
  | { readonly kind: "counts"; readonly attribute: string; readonly element: number | null }
);

/** Whether a site cuts the weight of a node that has one: its second input. */
export const isWeight = (site: Site): boolean => site.kind !== "counts" && site.input === 1;

/** What rules see of the graph, and what they tell of it. */
export class Walk {
  readonly model: Model;
  /** What is known of each value, small ones' elements among it. */
  readonly values: ReadonlyMap<string, Value>;
  readonly constant: ReadonlyMap<string, Tensor>;
  readonly sites: Site[] = [];
  readonly #labels = new Map<string, Labels>();
  readonly #parent: number[] = [];
  readonly #reasons = new Map<number, string>();

  constructor(model: Model, values: ReadonlyMap<string, Value>) {
    this.model = model;
    this.values = values;
    this.constant = constants(model.graph);
  }

  /** Null where no axis of the value has channels that are known of. */
  labels(value: string): Labels | null {
    return this.#labels.get(value) ?? null;
  }

  set(value: string | undefined, labels: Labels | null): void {
    if (value && labels !== null) this.#labels.set(value, labels);
  }

  /** The dimensions of a value; null where any is not known. */
  dims(value: string | undefined): readonly number[] | null {
    const shape = this.values.get(value ?? "")?.shape ?? null;
    return shape?.every((dim): dim is number => typeof dim === "number") ? shape : null;
  }

  /** The rank of a value; null where it is not known. */
  rank(value: string | undefined): number | null {
    return this.values.get(value ?? "")?.shape?.length ?? null;
  }

  /** New channels. */
  fresh(count: number): Int32Array {
    const first = this.#parent.length;
    for (let i = 0; i < count; i++) this.#parent.push(first + i);
    return Int32Array.from({ length: count }, (_, i) => first + i);
  }

  /** New channels that must all stay. */
  fixed(count: number, reason: string): Int32Array {
    const ids = this.fresh(count);
    this.refuse(ids, reason);
    return ids;
  }

  /** The channel that stands for all that were joined with this one. */
  root(id: number): number {
    let at = id;
    for (let up = this.#parent[at]!; up !== at; up = this.#parent[at]!) {
      this.#parent[at] = this.#parent[up]!;
      at = up;
    }
    return at;
  }

  /** Entry by entry, two channels that can only go together. */
  join(a: Int32Array, b: Int32Array): void {
    for (let i = 0; i < a.length; i++) {
      const [one, other] = [this.root(a[i]!), this.root(b[i]!)];
      if (one === other) continue;
      const reason = this.#reasons.get(one) ?? this.#reasons.get(other);
      this.#parent[other] = one;
      if (reason !== undefined) this.#reasons.set(one, reason);
    }
  }

  /** These channels must stay; the first reason counts. */
  refuse(ids: Int32Array | undefined, reason: string): void {
    for (const id of ids ?? []) {
      const root = this.root(id);
      if (!this.#reasons.has(root)) this.#reasons.set(root, reason);
    }
  }

  reason(id: number): string | null {
    return this.#reasons.get(this.root(id)) ?? null;
  }
}

/** How messages call a node. */
export const called = ({ op, name, outputs }: Node): string => `${op} ${name || outputs[0] || ""}`.trim();

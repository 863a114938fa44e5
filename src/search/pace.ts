// How factoring keeps within a deadline: layers with the most MACs come first, on each layer the methods that give all ranks at once come
// before the iterative ones, and of these only as many are tried as fit into the layer's share of the time.

import type { Layer } from "../analyze/layers.ts";
import type { Method } from "../approximate/method.ts";
import { type Deadline, isPast, MARKS, secondsInAll, secondsUntil } from "../deadline.ts";

/** What there is time for on one layer. */
export interface Affords {
  /** The methods in the order in which they are tried. */
  readonly inOrder: (methods: readonly Method[]) => readonly Method[];
  /** Whether a method is tried; `any` says whether another method has been tried on this layer. */
  readonly one: (method: Method, any: boolean) => boolean;
}

export interface Pace {
  readonly inOrder: readonly Layer[];
  readonly isOver: () => boolean;
  readonly startLayer: (layer: Layer) => Affords;
  /** The layers that there was no time for; reports to the deadline what was left out. */
  readonly left: (scored: ReadonlyMap<string, unknown>) => readonly Layer[];
}

/** Seconds that the iterative methods take on a network without a deadline. */
const ITERATIVE_SECONDS = 120;

/** The share of the weights that they are tried on: their share of the time for factoring over the time that they would take. */
export const shareOf = (deadline: Deadline | undefined): number =>
  Math.min(1, (secondsInAll(deadline) * MARKS.factoring) / 2 / ITERATIVE_SECONDS);

/** Without a deadline: everything, in the order given. */
export function paceOf(open: readonly Layer[], deadline: Deadline | undefined): Pace {
  const inOrder = deadline === undefined ? open : open.toSorted((a, b) => b.macs - a.macs);
  let macsLeft = open.reduce((sum, { macs }) => sum + macs, 0);
  const skipped = new Map<string, number>();
  return {
    inOrder,
    isOver: () => isPast(deadline, MARKS.factoring),
    startLayer({ macs }) {
      const share = secondsUntil(deadline, MARKS.factoring) * (1 - macs / Math.max(macs, macsLeft));
      macsLeft -= macs;
      const one = ({ name, iterative = false }: Method, any: boolean) => {
        const left = secondsUntil(deadline, MARKS.factoring);
        const affordable = !any || (left > 0 && (!iterative || left > share));
        if (deadline === undefined || affordable) return true;
        skipped.set(name, (skipped.get(name) ?? 0) + 1);
        return false;
      };
      const late = ({ iterative = false }: Method) => Number(iterative);
      return { inOrder: (methods) => (deadline ? methods.toSorted((a, b) => late(a) - late(b)) : methods), one };
    },
    left(scored) {
      const layers = open.filter(({ name }) => !scored.has(name));
      if (layers.length > 0) deadline?.onMissed(`${layers.length} of ${open.length} layers, which were left alone`);
      for (const [name, count] of skipped) deadline?.onMissed(`${name} on ${count} layers`);
      return layers;
    },
  };
}

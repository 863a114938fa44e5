// The limited-memory BFGS method (Liu and Nocedal 1989) for smooth functions whose gradient is cheap next to the value: few
// iterations, every one of which lowers the value.

export interface Evaluated {
  readonly value: number;
  readonly gradient: Float64Array;
}

/** Steps remembered. */
const MEMORY = 8;

/** A step must lower the value by this part of what the gradient predicts. */
const ARMIJO = 1e-4;

/** Halvings of a step, at most. */
const HALVINGS = 6;

interface Step {
  /** The step taken, the change of the gradient along it, and one over their product. */
  readonly s: Float64Array;
  readonly y: Float64Array;
  readonly rho: number;
}

/**
 * The best point found, and its value; the start where no step lowers the value.
 * @param first length of the first step, as a part of the start's own
 */
export async function minimise(
  start: Float64Array,
  evaluate: (x: Float64Array) => Promise<Evaluated>,
  iterations: number,
  first = 0.01,
): Promise<{ readonly x: Float64Array; readonly value: number }> {
  let x = start;
  let now = await evaluate(x);
  const steps: Step[] = [];
  for (let i = 0; i < iterations; i++) {
    let direction = descent(now.gradient, steps);
    let slope = dot(direction, now.gradient);
    if (!(slope < 0)) {
      steps.length = 0;
      direction = now.gradient.map((value) => -value);
      slope = -dot(now.gradient, now.gradient);
    }
    if (!(slope < 0)) break;
    const length = steps.length > 0 ? 1 : (first * norm(x)) / norm(direction);
    const found = await search(x, now, direction, slope, length, evaluate);
    if (found === null) break;
    const s = found.x.map((value, at) => value - x[at]!);
    const y = found.gradient.map((value, at) => value - now.gradient[at]!);
    const curvature = dot(s, y);
    if (curvature > 1e-12 * norm(s) * norm(y)) steps.push({ s, y, rho: 1 / curvature });
    if (steps.length > MEMORY) steps.shift();
    x = found.x;
    now = found;
  }
  return { x, value: now.value };
}

/** A point along the direction that is low enough, the step halved as often as it takes; null where none is. */
async function search(
  x: Float64Array,
  now: Evaluated,
  direction: Float64Array,
  slope: number,
  length: number,
  evaluate: (x: Float64Array) => Promise<Evaluated>,
): Promise<(Evaluated & { readonly x: Float64Array }) | null> {
  for (let i = 0, t = length; i <= HALVINGS; i++, t /= 2) {
    const next = x.map((value, at) => value + t * direction[at]!);
    const there = await evaluate(next);
    if (there.value <= now.value + ARMIJO * t * slope) return { ...there, x: next };
  }
  return null;
}

/** -H g, H the inverse Hessian as the steps tell it: the two-loop recursion. */
function descent(gradient: Float64Array, steps: readonly Step[]): Float64Array {
  const q = gradient.slice();
  const parts = steps.map(() => 0);
  for (let i = steps.length - 1; i >= 0; i--) {
    const { s, y, rho } = steps[i]!;
    parts[i] = rho * dot(s, q);
    addTo(q, y, -parts[i]!);
  }
  const last = steps.at(-1);
  if (last !== undefined) {
    const scale = 1 / (last.rho * dot(last.y, last.y));
    for (let i = 0; i < q.length; i++) q[i]! *= scale;
  }
  for (const [i, { s, y, rho }] of steps.entries()) addTo(q, s, parts[i]! - rho * dot(y, q));
  return q.map((value) => -value);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

const norm = (a: Float64Array): number => Math.sqrt(dot(a, a));

function addTo(into: Float64Array, from: Float64Array, times: number): void {
  for (let i = 0; i < into.length; i++) into[i]! += times * from[i]!;
}

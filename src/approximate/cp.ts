// The canonical polyadic decomposition T ~ sum_k a_k o b_k o c_k (Denton et al. 2014, section 3.2): components fitted greedily to
// what the ones before leave, then all of them together by alternating least squares. Beyond the paper: components come in
// blocks, a momentum (Mitchell, Ye and De Sterck 2020) halves the sweeps, and a small ridge on balanced components keeps pairs
// from growing without bound against each other, which they do where no best approximation exists (de Silva and Lim 2008).

import { LowrankError } from "../errors.ts";
import { type Matrix, matrix, rowNorms, scaleRows, stackRows, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { gaussian, type Rng, random } from "../linalg/random.ts";
import { residualOf, type Swept, sweep } from "./cp-sweep.ts";
import { type Components, energyOf, type Tensor3 } from "./tensor.ts";

/** The components' vectors as columns. */
export interface CpFactors {
  /** A x K. */
  readonly a: Matrix;
  /** B x K. */
  readonly b: Matrix;
  /** D x K. */
  readonly c: Matrix;
}

export interface Cp extends CpFactors {
  /** ||T - sum_k a_k o b_k o c_k|| / ||T||. */
  readonly error: number;
}

export interface CpOptions {
  /** Components to start from; where there are fewer than the rank, the others are added to them. */
  readonly start?: CpFactors;
  /** Sweeps over all components at the end, at most; by default 100. */
  readonly sweeps?: number;
  /** Ends where five sweeps lower the error by less than this part of it; by default 1e-4. */
  readonly tolerance?: number;
  /** Components added at a time; by default a quarter of those there are, from 1 to 64. */
  readonly block?: number;
  /** Independent starts, of which the best is kept; by default 3 for small problems, else 1. No more than one where `start` is given. */
  readonly starts?: number;
  /** Penalty on the squared norms, in parts of a typical component's times the error; by default 1e-3. */
  readonly ridge?: number;
  /** By default true; false for alternating least squares as in the textbook. */
  readonly momentum?: boolean;
}

/** Sweeps over a new block by itself, and over all components after it was added. */
const BLOCK_SWEEPS = 5;
const JOINT_SWEEPS = 2;

/** Up to this many multiplications a sweep, several starts are affordable. */
const SMALL = 2e7;

/** The sum of the components' squared norms, over that of the tensor, from which they are taken to cancel each other. */
const DEGENERATE = 100;

/** Ridges that do not fall with the error, tried in turn on degenerate components. */
const REPAIRS = [1e-4, 1e-3, 1e-2];

/** Relative errors this small are rounding: the residual is a difference of squares. */
const NOTHING = 1e-7;

/**
 * The same seed gives the same bits. Beyond the tensor it holds another of its size, and K (A + B + D) numbers a few times.
 * @param tensor of finite numbers
 * @throws LowrankError `runtime` where the rank is not a positive whole number or `start` does not fit
 */
export async function cpAls(
  la: Linalg,
  tensor: Tensor3,
  rank: number,
  seed: number,
  options: CpOptions = {},
): Promise<Cp> {
  check(tensor, rank, options.start);
  const [A, B, D] = tensor.dims;
  const small = A * B * D * rank <= SMALL;
  const starts = options.start === undefined ? (options.starts ?? (small ? 3 : 1)) : 1;
  const start = options.start === undefined ? noComponents(tensor) : rowsFrom(options.start);
  const rng = random(seed);
  let best: Fit | null = null;
  for (let i = 0; i < starts && (best === null || best.error > NOTHING); i++) {
    const fit = await fitOnce(la, tensor, rank, start, rng, options);
    if (best === null || fit.error < best.error) best = fit;
  }
  const { a, b, c, error } = best!;
  return { a: transpose(a), b: transpose(b), c: transpose(c), error };
}

interface Fit extends Components {
  readonly error: number;
}

async function fitOnce(
  la: Linalg,
  tensor: Tensor3,
  rank: number,
  start: Components,
  rng: Rng,
  options: CpOptions,
): Promise<Fit> {
  const problem: Problem = { tensor, energy: energyOf(tensor.data), momentum: true, ridge: 1e-3, ...options };
  if (problem.energy === 0) return { ...(await addBlock(la, problem, noComponents(tensor), rank, rng)), error: 0 };
  let components = start;
  while (components.a.rows < rank) {
    const there = components.a.rows;
    const count = Math.min(rank - there, options.block ?? Math.min(64, Math.max(1, there >> 2)));
    components = await addBlock(la, problem, components, count, rng);
    if (there > 0) components = await improve(la, problem, components, JOINT_SWEEPS, 0);
  }
  const { sweeps = 100, tolerance = 1e-4 } = options;
  let done = await improve(la, problem, components, sweeps, tolerance);
  for (const leastRidge of problem.ridge === 0 ? [] : REPAIRS) {
    if (done.energy <= DEGENERATE * problem.energy) break;
    done = await improve(la, { ...problem, leastRidge }, done, sweeps, tolerance);
  }
  return { ...done, error: Math.sqrt(done.residual / problem.energy) };
}

interface Problem {
  readonly tensor: Tensor3;
  /** ||T||^2. */
  readonly energy: number;
  readonly ridge: number;
  readonly leastRidge?: number;
  readonly momentum: boolean;
}

/** `count` components fitted to what the others leave, below them. */
async function addBlock(
  la: Linalg,
  problem: Problem,
  before: Components,
  count: number,
  rng: Rng,
): Promise<Components> {
  const { tensor } = problem;
  const [A, B, D] = tensor.dims;
  const fresh = { a: randomRows(count, A, rng), b: randomRows(count, B, rng), c: randomRows(count, D, rng) };
  const rest = before.a.rows === 0 ? tensor : await residualOf(la, tensor, before);
  const energy = energyOf(rest.data);
  const none = energy <= NOTHING ** 2 * problem.energy;
  const block = none
    ? { ...fresh, a: matrix(count, A) }
    : await improve(la, { ...problem, tensor: rest, energy }, fresh, BLOCK_SWEEPS, 0);
  return { a: stackRows(before.a, block.a), b: stackRows(before.b, block.b), c: stackRows(before.c, block.c) };
}

/**
 * Up to `sweeps` sweeps that never raise the penalised residual: after each a step further in its direction, by k / (k + 3) of it
 * in the k-th sweep since one failed, is where the next starts.
 */
async function improve(
  la: Linalg,
  problem: Problem,
  start: Components,
  sweeps: number,
  tolerance: number,
): Promise<Swept> {
  const { tensor, energy } = problem;
  let lambda = lambdaOf(problem, energy, start.a.rows);
  let [before, now] = balanced(start, null);
  let found: Swept | null = null;
  let run = 0;
  const residuals: number[] = [];
  for (let i = 0; i < sweeps; i++) {
    const from = run > 0 && problem.momentum ? extrapolate(before, now, run / (run + 3)) : now;
    const next = await sweep(la, tensor, energy, from, lambda);
    if (found !== null && run > 0 && objective(next, lambda) > objective(found, lambda)) {
      run = 0;
      continue;
    }
    [now, before] = balanced(next, now);
    found = { ...next, ...now };
    lambda = lambdaOf(problem, next.residual, start.a.rows);
    run++;
    residuals.push(next.residual);
    if (hasSettled(residuals, energy, tolerance)) break;
  }
  return found!;
}

/** lambda = ridge * error * (||T||^2 / K)^(2/3), the last being the squared norm of a mode of one of K equal components. */
function lambdaOf({ energy, ridge, leastRidge = 0 }: Problem, residual: number, K: number): number {
  return Math.max(leastRidge, ridge * Math.sqrt(residual / energy)) * (energy / K) ** (2 / 3);
}

const objective = ({ residual, a, b, c }: Swept, lambda: number): number =>
  residual + lambda * (energyOf(a.data) + energyOf(b.data) + energyOf(c.data));

function hasSettled(residuals: readonly number[], energy: number, tolerance: number): boolean {
  const now = residuals.at(-1)!;
  if (now <= NOTHING ** 2 * energy) return true;
  const earlier = residuals.at(-6);
  return earlier !== undefined && Math.sqrt(earlier) - Math.sqrt(now) < tolerance * Math.sqrt(now);
}

function extrapolate(before: Components, now: Components, step: number): Components {
  const further = ({ rows, cols, data }: Matrix, old: Matrix) =>
    matrix(
      rows,
      cols,
      data.map((value, i) => value + step * (value - old.data[i]!)),
    );
  return { a: further(now.a, before.a), b: further(now.b, before.b), c: further(now.c, before.c) };
}

/** Each component with its three vectors equally long, and the same stretches applied to those before. */
function balanced(now: Components, before: Components | null): [Components, Components] {
  const norms = [now.a, now.b, now.c].map(rowNorms);
  const scales = norms.map((mine) =>
    mine.map((norm, k) => (norm > 0 ? Math.cbrt(norms[0]![k]! * norms[1]![k]! * norms[2]![k]!) / norm : 1)),
  );
  const apply = ({ a, b, c }: Components) => ({
    a: scaleRows(a, scales[0]!),
    b: scaleRows(b, scales[1]!),
    c: scaleRows(c, scales[2]!),
  });
  const scaled = apply(now);
  return [scaled, before === null ? scaled : apply(before)];
}

function randomRows(rows: number, cols: number, rng: Rng): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0; i < out.data.length; i++) out.data[i] = gaussian(rng);
  return out;
}

const noComponents = ({ dims: [A, B, D] }: Tensor3): Components => ({
  a: matrix(0, A),
  b: matrix(0, B),
  c: matrix(0, D),
});

const rowsFrom = ({ a, b, c }: CpFactors): Components => ({ a: transpose(a), b: transpose(b), c: transpose(c) });

function check({ dims }: Tensor3, rank: number, start: CpFactors | undefined): void {
  if (!(Number.isInteger(rank) && rank >= 1)) {
    throw new LowrankError("runtime", `cpAls: the rank must be a whole number from 1, got ${rank}`);
  }
  if (start === undefined) return;
  const given = [start.a, start.b, start.c].map(({ rows, cols }) => `${rows}x${cols}`).join(", ");
  const K = start.a.cols;
  const right = dims.map((size) => `${size}x${K}`).join(", ");
  if (given !== right || K > rank) {
    throw new LowrankError("runtime", `cpAls: start must be ${right} with at most ${rank} columns, got ${given}`);
  }
}

// Dense matrices as plain data, row-major.

/** rows x cols float64 numbers, row after row. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix whose numbers may be float32 (a weight as it stands in the file): products widen it block by block. */
export interface AnyMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array | Float32Array;
}

/** A rows x cols matrix of zeros, or of the given numbers. */
export function matrix(rows: number, cols: number, data = new Float64Array(rows * cols)): Matrix {
  return { rows, cols, data };
}

/** The same in float64: itself where it is that already. */
export function widened({ rows, cols, data }: AnyMatrix): Matrix {
  return { rows, cols, data: data instanceof Float64Array ? data : new Float64Array(data) };
}

/** Side of the tiles in which a matrix is transposed, so that reads and writes stay in cache. */
const TILE = 16;

/** A', in float64. */
export function transpose({ rows, cols, data }: AnyMatrix): Matrix {
  const out = matrix(cols, rows);
  for (let i0 = 0; i0 < rows; i0 += TILE) {
    const iEnd = Math.min(rows, i0 + TILE);
    for (let j0 = 0; j0 < cols; j0 += TILE) {
      const jEnd = Math.min(cols, j0 + TILE);
      for (let j = j0; j < jEnd; j++) for (let i = i0; i < iEnd; i++) out.data[j * rows + i] = data[i * cols + j]!;
    }
  }
  return out;
}

/** Copies what is below the diagonal of a square matrix to above it, in place. */
export function mirrorLower({ rows: n, data }: Matrix): void {
  for (let i0 = 0; i0 < n; i0 += TILE) {
    for (let j0 = 0; j0 <= i0; j0 += TILE) {
      const [iEnd, jEnd] = [Math.min(n, i0 + TILE), Math.min(n, j0 + TILE)];
      for (let j = j0; j < jEnd; j++)
        for (let i = Math.max(i0, j + 1); i < iEnd; i++) data[j * n + i] = data[i * n + j]!;
    }
  }
}

/** The n x n identity. */
export function identity(n: number): Matrix {
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) out.data[i * n + i] = 1;
  return out;
}

/** Some rows and columns, in the order given, in float64. */
export function submatrix({ cols: n, data }: AnyMatrix, rows: ArrayLike<number>, cols: ArrayLike<number>): Matrix {
  const out = matrix(rows.length, cols.length);
  for (let i = 0, at = 0; i < rows.length; i++) {
    const start = rows[i]! * n;
    for (let j = 0; j < cols.length; j++, at++) out.data[at] = data[start + cols[j]!]!;
  }
  return out;
}

/** A square matrix in float64 with a share of its mean diagonal added to the diagonal, 1 where that is nothing: it can be inverted. */
export function ridged({ rows, cols, data }: AnyMatrix, share: number): Matrix {
  const out = matrix(rows, cols, Float64Array.from(data));
  const added = (share * trace(out)) / rows || 1;
  for (let i = 0; i < rows; i++) out.data[i * cols + i]! += added;
  return out;
}

/** Rows from..to-1, a view on the same numbers. */
export function rowsOf<M extends AnyMatrix>({ cols, data }: M, from: number, to: number): M {
  return { rows: to - from, cols, data: data.subarray(from * cols, to * cols) } as AnyMatrix as M;
}

/** Columns from..to-1 in the same precision: a copy, or the matrix itself where that is all of them. */
export function columnsOf<M extends AnyMatrix>(a: M, from: number, to: number): M {
  const { rows, cols, data } = a;
  const width = to - from;
  if (width === cols) return a;
  const Numbers = data instanceof Float32Array ? Float32Array : Float64Array;
  const out = new Numbers(rows * width);
  for (let i = 0; i < rows; i++) out.set(data.subarray(i * cols + from, i * cols + to), i * width);
  return { rows, cols: width, data: out } as AnyMatrix as M;
}

/** The matrix times diag(scale) from the right: column j times scale[j]. */
export function scaleColumns({ rows, cols, data }: Matrix, scale: ArrayLike<number>): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0, at = 0; i < rows; i++) for (let j = 0; j < cols; j++, at++) out.data[at] = data[at]! * scale[j]!;
  return out;
}

/** The rows of the first matrix, then those of the second. */
export function stackRows(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows + b.rows, a.cols);
  out.data.set(a.data);
  out.data.set(b.data, a.data.length);
  return out;
}

/** The columns of the first matrix, then those of the second; the second itself where the first has none. */
export function besideColumns(a: Matrix, b: Matrix): Matrix {
  if (a.cols === 0) return b;
  const out = matrix(a.rows, a.cols + b.cols);
  for (let i = 0; i < a.rows; i++) {
    out.data.set(a.data.subarray(i * a.cols, (i + 1) * a.cols), i * out.cols);
    out.data.set(b.data.subarray(i * b.cols, (i + 1) * b.cols), i * out.cols + a.cols);
  }
  return out;
}

/** The Euclidean norm of each column. */
export function columnNorms({ rows, cols, data }: Matrix): Float64Array {
  const norms = new Float64Array(cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) norms[j]! += data[i * cols + j]! * data[i * cols + j]!;
  return norms.map(Math.sqrt);
}

/** The diagonal of a square matrix. */
export function diagonalOf({ rows, cols, data }: AnyMatrix): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) => data[i * cols + i]!);
}

/** The sum of the diagonal. */
export function trace({ rows, cols, data }: AnyMatrix): number {
  let sum = 0;
  for (let i = 0; i < Math.min(rows, cols); i++) sum += data[i * cols + i]!;
  return sum;
}

/** The largest absolute value; NaN where any number is not finite. */
export function maxAbs({ data }: AnyMatrix): number {
  let largest = 0;
  let poison = 0;
  for (let i = 0; i < data.length; i++) {
    const value = Math.abs(data[i]!);
    if (value > largest) largest = value;
    poison += 0 * value;
  }
  return largest + poison;
}

/** A power of two, so that scaling is exact, by which numbers up to `largest` come near 1; 1 where all are zero. */
export function unitScale(largest: number): number {
  // A subnormal number would ask for more than the largest power of two there is.
  return largest === 0 ? 1 : 2 ** Math.min(1000, -Math.floor(Math.log2(largest)));
}

/** The Euclidean length of each row. */
export function rowNorms({ rows, cols, data }: Matrix): Float64Array {
  const out = new Float64Array(rows);
  for (let k = 0; k < rows; k++) {
    let sum = 0;
    for (let i = k * cols; i < (k + 1) * cols; i++) sum += data[i]! * data[i]!;
    out[k] = Math.sqrt(sum);
  }
  return out;
}

/** diag(scale) A. */
export function scaleRows({ rows, cols, data }: Matrix, scale: ArrayLike<number>): Matrix {
  const out = matrix(rows, cols);
  for (let k = 0, at = 0; k < rows; k++) for (let i = 0; i < cols; i++, at++) out.data[at] = data[at]! * scale[k]!;
  return out;
}

// Dense matrices as plain data, row-major.

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

export function transpose({ rows, cols, data }: AnyMatrix): Matrix {
  const out = matrix(cols, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out.data[j * rows + i] = data[i * cols + j]!;
  return out;
}

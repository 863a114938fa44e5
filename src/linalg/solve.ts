// provisional
import { type Matrix, matrix } from "./matrix.ts";
import type { Linalg } from "./products.ts";
export async function cholesky(_la: Linalg, s: Matrix): Promise<Matrix> {
  const n = s.rows;
  const L = matrix(n, n);
  const l = L.data;
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = s.data[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i === j) {
        if (!(sum > 0)) throw new Error("not positive definite");
        l[i * n + i] = Math.sqrt(sum);
      } else l[i * n + j] = sum / l[j * n + j]!;
    }
  return L;
}
export async function solveLower(_la: Linalg, L: Matrix, B: Matrix): Promise<Matrix> {
  const n = L.rows,
    m = B.cols;
  const X = matrix(n, m, B.data.slice());
  for (let i = 0; i < n; i++) {
    const row = X.data.subarray(i * m, (i + 1) * m);
    for (let k = 0; k < i; k++) {
      const f = L.data[i * n + k]!;
      const other = X.data.subarray(k * m, (k + 1) * m);
      for (let j = 0; j < m; j++) row[j]! -= f * other[j]!;
    }
    for (let j = 0; j < m; j++) row[j]! /= L.data[i * n + i]!;
  }
  return X;
}
/** L' X = B */
export async function solveUpper(_la: Linalg, L: Matrix, B: Matrix): Promise<Matrix> {
  const n = L.rows,
    m = B.cols;
  const X = matrix(n, m, B.data.slice());
  for (let i = n - 1; i >= 0; i--) {
    const row = X.data.subarray(i * m, (i + 1) * m);
    for (let k = i + 1; k < n; k++) {
      const f = L.data[k * n + i]!;
      const other = X.data.subarray(k * m, (k + 1) * m);
      for (let j = 0; j < m; j++) row[j]! -= f * other[j]!;
    }
    for (let j = 0; j < m; j++) row[j]! /= L.data[i * n + i]!;
  }
  return X;
}
export async function ridge(la: Linalg, G: Matrix, B: Matrix, lambda: number): Promise<Matrix> {
  const n = G.rows;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += G.data[i * n + i]!;
  const A = matrix(n, n, G.data.slice());
  const add = (lambda * trace) / n || 1;
  for (let i = 0; i < n; i++) A.data[i * n + i]! += add;
  const L = await cholesky(la, A);
  return solveUpper(la, L, await solveLower(la, L, B));
}

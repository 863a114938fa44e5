// Into how many equal parts a number can be cut.

/** The prime factors of n in ascending order, each as often as it divides: 12 -> 2, 2, 3. */
export function primeFactors(n: number): readonly number[] {
  const primes: number[] = [];
  for (let [rest, p] = [n, 2]; rest > 1; ) {
    if (p * p > rest) p = rest;
    if (rest % p === 0) {
      primes.push(p);
      rest /= p;
    } else p++;
  }
  return primes;
}

/** All that divide n, ascending. */
export const divisors = (n: number): readonly number[] =>
  Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

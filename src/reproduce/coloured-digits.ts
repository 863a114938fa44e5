// Handwritten digits painted in random colours on varied backgrounds, 32 x 32 RGB: each is placed with a random shift, size and
// tilt. The same seed gives the same bytes. The demo's network was trained on such images.

import { gaussian, type Rng, random } from "../linalg/random.ts";

export const SIZE = 32;
export const DIGIT = 28;

export interface Split {
  /** Bytes [n, 32, 32, 3]. */
  readonly x: Uint8Array;
  /** Digits 0..9. */
  readonly y: Int32Array;
}

export interface Source {
  /** Grey values 0..1, 28 x 28. */
  readonly grey: Float32Array;
  readonly digit: number;
}

/** Paints the digits one after the other; more images than digits means that digits come again in other colours and places. */
export function paintDigits(sources: readonly Source[], count: number, seed: number): Split {
  const each = SIZE * SIZE * 3;
  const x = new Uint8Array(count * each);
  const y = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const source = sources[i % sources.length]!;
    y[i] = source.digit;
    paint(source.grey, random(seed * 7_919 + i), x.subarray(i * each, (i + 1) * each));
  }
  return { x, y };
}

type Colour = readonly [number, number, number];

/** A background gives each pixel a mix of two colours, 0..1. */
type Background = (u: number, v: number) => number;

function paint(grey: Float32Array, rng: Rng, into: Uint8Array): void {
  const [first, second, ink] = colours(rng);
  const background = BACKGROUNDS[Math.floor(rng() * BACKGROUNDS.length)]!(rng);
  const place = placement(rng);
  const noise = 4 + 8 * rng();
  for (let row = 0; row < SIZE; row++) {
    for (let column = 0; column < SIZE; column++) {
      const mix = background(column / SIZE, row / SIZE);
      const cover = place(grey, column, row);
      for (let c = 0; c < 3; c++) {
        const behind = first[c]! + (second[c]! - first[c]!) * mix;
        const value = behind + (ink[c]! - behind) * cover + noise * gaussian(rng);
        into[(row * SIZE + column) * 3 + c] = Math.max(0, Math.min(255, Math.round(value)));
      }
    }
  }
}

/** Two background colours and an ink whose brightness differs from both. */
function colours(rng: Rng): readonly [Colour, Colour, Colour] {
  const any = (): Colour => [255 * rng(), 255 * rng(), 255 * rng()];
  const brightness = ([r, g, b]: Colour) => 0.3 * r + 0.59 * g + 0.11 * b;
  for (;;) {
    const [first, second, ink] = [any(), any(), any()];
    const contrast = [first, second].map((colour) => brightness(colour) - brightness(ink));
    if (Math.min(...contrast.map(Math.abs)) > 60 && contrast[0]! * contrast[1]! > 0) return [first, second, ink];
  }
}

const BACKGROUNDS: readonly ((rng: Rng) => Background)[] = [
  () => () => 0,
  (rng) => {
    const angle = 2 * Math.PI * rng();
    return (u, v) => clamp(0.5 + (u - 0.5) * Math.cos(angle) + (v - 0.5) * Math.sin(angle));
  },
  (rng) => {
    const cells = 2 + Math.floor(4 * rng());
    return (u, v) => (Math.floor(u * cells) + Math.floor(v * cells)) % 2;
  },
  (rng) => {
    const [angle, waves] = [Math.PI * rng(), 2 + 4 * rng()];
    return (u, v) => 0.5 + 0.5 * Math.sin(2 * Math.PI * waves * (u * Math.cos(angle) + v * Math.sin(angle)));
  },
  (rng) => {
    const blobs = Array.from({ length: 4 }, () => [rng(), rng(), 0.01 + 0.05 * rng()] as const);
    return (u, v) => clamp(blobs.reduce((sum, [x, y, s]) => sum + Math.exp(-((u - x) ** 2 + (v - y) ** 2) / s), 0));
  },
];

const clamp = (value: number) => Math.max(0, Math.min(1, value));

/** Reads the digit, bilinearly, at where a pixel falls under a random shift, size and tilt. */
function placement(rng: Rng): (grey: Float32Array, column: number, row: number) => number {
  const [tilt, size] = [0.2 * gaussian(rng), 0.85 + 0.3 * rng()];
  const [right, down] = [4 * rng() - 2, 4 * rng() - 2];
  const [cos, sin] = [Math.cos(tilt) / size, Math.sin(tilt) / size];
  return (grey, column, row) => {
    const [x, y] = [column - SIZE / 2 - right, row - SIZE / 2 - down];
    return bilinear(grey, cos * x + sin * y + DIGIT / 2, cos * y - sin * x + DIGIT / 2);
  };
}

function bilinear(grey: Float32Array, x: number, y: number): number {
  const at = (i: number, j: number) => (i < 0 || j < 0 || i >= DIGIT || j >= DIGIT ? 0 : grey[j * DIGIT + i]!);
  const [i, j] = [Math.floor(x), Math.floor(y)];
  const [a, b] = [x - i, y - j];
  return (1 - b) * ((1 - a) * at(i, j) + a * at(i + 1, j)) + b * ((1 - a) * at(i, j + 1) + a * at(i + 1, j + 1));
}

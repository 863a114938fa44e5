// What the values of options may be: how one is read from the text of a flag, and whether a value given in code will do.

/** A kind of value. */
export interface ValueKind<T> {
  /** The value that a flag's text stands for; null where it stands for none. */
  readonly parse: (text: string) => T | null;
  readonly valid: (value: unknown) => boolean;
  /** What would be right, to be said after "expected". */
  readonly expects: string;
}

const numberIn = (text: string): number => (/^(\d+\.?\d*|\.\d+)(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN);
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** Numbers that may be written as per cent, with what a bare one is a share of. */
function numeric(
  expects: string,
  valid: (value: number) => boolean,
  read: (text: string) => number,
): ValueKind<number> {
  const fits = (value: unknown): value is number => isNumber(value) && valid(value);
  return {
    expects,
    valid: fits,
    parse(text) {
      const value = read(text);
      return fits(value) ? value : null;
    },
  };
}

function perCent(text: string): number {
  const own = text.trim();
  return own.endsWith("%") ? numberIn(own.slice(0, -1)) / 100 : numberIn(own);
}

/** A share of the original's, above 0: 0.5 or 50%. */
export const SHARE = numeric(
  "a share of the original's, above 0 and at most 1, such as 0.5 or 50%",
  (value) => value > 0 && value <= 1,
  perCent,
);

/** A share that may be nothing. */
export const PART = numeric("a share from 0 to 1, such as 0.5 or 50%", (value) => value >= 0 && value <= 1, perCent);

/** Points, hundredths; a sign of per cent is no matter. */
export const POINTS = numeric(
  "a number of points from 0 to 100",
  (value) => value >= 0 && value <= 100,
  (text) => numberIn(text.replace(/%$/, "")),
);

export const TIMES = numeric(
  "how many times as fast, 1 or more, such as 1.5 or 2x",
  (value) => value >= 1,
  (text) => numberIn(text.replace(/x$/, "")),
);

export const POSITIVE = numeric("a number above 0, such as 0.01 or 3e-4", (value) => value > 0, numberIn);

export function whole(least: number, most = Number.MAX_SAFE_INTEGER): ValueKind<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? "up" : `to ${most}`;
  return numeric(
    `a whole number from ${least} ${range}`,
    (value) => Number.isInteger(value) && value >= least && value <= most,
    (text) => (/^\d+$/.test(text) ? Number(text) : Number.NaN),
  );
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

export const TEXT: ValueKind<string> = {
  expects: "a name",
  parse: (text) => (text === "" ? null : text),
  valid: isText,
};

/** Names between commas, or a list of them. */
export const NAMES: ValueKind<readonly string[]> = {
  expects: "names between commas",
  parse(text) {
    const found = text.split(",").map((part) => part.trim());
    return found.every(isText) ? found : null;
  },
  valid: (value) => Array.isArray(value) && value.length > 0 && value.every(isText),
};

export function oneOf<const T extends string>(names: readonly T[]): ValueKind<T> {
  const known = (value: unknown): value is T => names.includes(value as T);
  return { expects: `one of ${names.join(", ")}`, valid: known, parse: (text) => (known(text) ? text : null) };
}

export const YES_OR_NO: ValueKind<boolean> = {
  expects: "true or false",
  parse: (text) => (text === "true" ? true : text === "false" ? false : null),
  valid: (value) => typeof value === "boolean",
};

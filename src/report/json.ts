// Results as the JSON that scripts read: the same data as in code, the names of its fields in snake_case.

/** Names of fields; keys of another kind, such as names of layers with a slash or a dot, stay as they are. */
const FIELD = /^[a-z][a-zA-Z0-9]*$/;

const snake = (name: string): string =>
  FIELD.test(name) ? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : name;

/** A copy of plain data with the names of all fields in snake_case. */
export function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [snake(name), snakeCased(own)]));
}

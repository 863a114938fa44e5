// What `rest` holds: the fields of a protobuf message that the plain data does not model. Reading takes the modelled
// fields out of the message; writing lays the others down first and puts the plain data over them.

import { create, createRegistry, type DescMessage, equals, type Message, type MessageShape } from "@bufbuild/protobuf";
import type { Rest } from "../graph/model.ts";

/**
 * How a modelled field is written where no remainder says otherwise: always, only if it is not the default, or as a
 * list (whose presence is its length).
 */
export type Presence = "always" | "filled" | "list";

export type Modelled<M> = Readonly<Partial<Record<keyof M, Presence>>>;

/** The concrete form of `rest` for a message type. */
export interface Remainder<M extends Message> {
  /** See `unmodelled`. */
  readonly fields?: Partial<M>;
}

export function remainder<R extends object>(rest: Rest | undefined): R | undefined {
  return rest as R | undefined;
}

/** An object for `rest`, or nothing at all if there is nothing to remember. */
export function withRest<R extends object>(parts: R): { rest?: Rest } {
  const filled = Object.entries(parts).filter(([, value]) => value !== undefined);
  return filled.length > 0 ? { rest: Object.fromEntries(filled) as Rest } : {};
}

/**
 * The unmodelled fields of a message, and where the presence of modelled ones is unusual: a default value that could be
 * left out, or (as undefined) one that is `always` written but that the file left out. Undefined if there is nothing.
 */
export function unmodelled<M extends Message>(message: M, modelled: Modelled<M>): Partial<M> | undefined {
  const left: [string, unknown][] = [];
  for (const [key, value] of Object.entries(message)) {
    const presence = modelled[key as keyof M];
    const unusual = presence === undefined ? !isAbsent(value) : presence === "filled" && isDefault(value);
    if (key !== "$typeName" && unusual) left.push([key, value]);
  }
  for (const [key, presence] of Object.entries(modelled)) {
    if (presence === "always" && !Object.hasOwn(message, key)) left.push([key, undefined]);
  }
  return left.length > 0 ? (Object.fromEntries(left) as Partial<M>) : undefined;
}

/** A new message with the remembered fields in place. */
export function lay<D extends DescMessage>(schema: D, fields: Partial<MessageShape<D>> | undefined): MessageShape<D> {
  const present = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined);
  return Object.assign(create(schema), Object.fromEntries(present));
}

/** Sets a modelled field; a default value as the file had it or, where it was not unusual, by `presence`. */
export function put<M extends Message, K extends keyof M>(
  message: M,
  fields: Partial<M> | undefined,
  key: K,
  value: M[K],
  presence: Presence,
): void {
  const present = fields && Object.hasOwn(fields, key) ? fields[key] !== undefined : presence === "always";
  if (present || !isDefault(value)) message[key] = value;
}

const NO_EXTENSIONS = createRegistry();

/** Whether two messages say the same, unknown fields included. */
export function sameMessage<D extends DescMessage>(schema: D, a: MessageShape<D>, b: MessageShape<D>): boolean {
  return equals(schema, a, b, { unknown: true, registry: NO_EXTENSIONS });
}

/** Empty lists and unset oneofs are own properties in protobuf-es, but stand for absence. */
function isAbsent(value: unknown): boolean {
  if (value === undefined || Array.isArray(value)) return value === undefined || (value as unknown[]).length === 0;
  return typeof value === "object" && value !== null && "case" in value && value.case === undefined;
}

function isDefault(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.length === 0;
  return value === "" || value === 0n || Object.is(value, 0);
}

// The two key-value lists of a model: operator set imports and metadata.

import {
  type OperatorSetIdProto,
  OperatorSetIdProtoSchema,
  type StringStringEntryProto,
  StringStringEntryProtoSchema,
} from "onnx-buf";
import { badModel, quote } from "./bad-model.ts";
import type { EntryKind } from "./entries.ts";
import { lay, sameMessage } from "./remainder.ts";

/** The standard domain's other name. */
export const STANDARD_ALIAS = "ai.onnx";

export function domainOf(domain: string): string {
  return domain === STANDARD_ALIAS ? "" : domain;
}

/** Versions by domain. Nodes bind to the highest version that a file imports. */
export const OPSETS: EntryKind<OperatorSetIdProto, number> = {
  key: (entry) => domainOf(entry.domain),
  value: ({ domain, version }) => {
    if (version < 1n || version > 2 ** 31) {
      throw badModel(`the model imports version ${version} of operator set ${quote(domain)}; expected 1 or higher`);
    }
    return Number(version);
  },
  choose: Math.max,
  make: (domain, version, old) =>
    Object.assign(lay(OperatorSetIdProtoSchema, old), { domain: old?.domain ?? domain, version: BigInt(version) }),
  same: (a, b) => sameMessage(OperatorSetIdProtoSchema, a, b),
};

/** Metadata by key; as in ONNX Runtime, the last of a repeated key counts. */
export const METADATA: EntryKind<StringStringEntryProto, string> = {
  key: (entry) => entry.key,
  value: (entry) => entry.value,
  choose: (_, second) => second,
  make: (key, value, old) => Object.assign(lay(StringStringEntryProtoSchema, old), { key, value }),
  same: (a, b) => sameMessage(StringStringEntryProtoSchema, a, b),
};

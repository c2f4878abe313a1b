/** The digest of a node's inputs, the same in every language, so that barriers can share a table. */

import { createHash } from "node:crypto";

import type { Payload } from "../gen/sagaline/v1/payload.js";

/**
 * SHA-256 of, for each input in the order of its name's bytes: the name; "json" and the text, or "data", the encoding and
 * the data; the number of metadata as 8 bytes; each key and its text, by key. Each of these is preceded by its length.
 * Lengths and numbers are 8 bytes, big-endian.
 */
export function digestOf(inputs: ReadonlyMap<string, Payload>): Uint8Array {
  const hash = createHash("sha256");
  const add = (part: string | Uint8Array): void => {
    const bytes = typeof part === "string" ? Buffer.from(part, "utf8") : part;
    hash.update(number(bytes.length)).update(bytes);
  };
  for (const [name, payload] of sorted(inputs)) {
    add(name);
    if (payload.value?.$case === "data") {
      add("data");
      add(payload.encoding);
      add(payload.value.value);
    } else {
      add("json");
      add(payload.value?.value ?? "null");
    }
    add(number(payload.metadata.size));
    for (const [key, text] of sorted(payload.metadata)) {
      add(key);
      add(text);
    }
  }
  return hash.digest();
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}

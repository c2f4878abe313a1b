/** Values as payloads: JSON by default, protobuf messages and bytes by a codec. */

import { ConversionError } from "./errors.js";
import type { Payload } from "./gen/sagaline/v1/payload.js";
import type { TypeSpec } from "./gen/sagaline/v1/payload.js";

export type { Payload } from "./gen/sagaline/v1/payload.js";

export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined };

/** How values of a type travel. Conversion that throws holds the node for an operator: trying again can't help. */
export interface Codec<T> {
  encode(value: T): Payload;
  decode(payload: Payload): T;
  /** Declared to SECs, which then check graphs against it. */
  readonly type?: TypeSpec;
}

/** A SEC's null, and what an action without a result answers. */
export const NULL_PAYLOAD: Payload = { value: { $case: "json", value: "null" }, encoding: "", metadata: new Map() };

export function jsonPayload(text: string): Payload {
  return { value: { $case: "json", value: text }, encoding: "", metadata: new Map() };
}

export function encodeJson(value: unknown): Payload {
  let text: string | undefined;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch (error) {
    throw new ConversionError(`a value can't be JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined) {
    throw new ConversionError(`a ${typeof value} can't be JSON`);
  }
  return jsonPayload(text);
}

export function decodeJson(payload: Payload): unknown {
  if (payload.value?.$case === "data") {
    throw new ConversionError(`JSON is expected, and the payload is encoded as ${payload.encoding}: name its codec`);
  }
  try {
    return payload.value === undefined ? null : JSON.parse(payload.value.value);
  } catch (error) {
    throw new ConversionError(`a payload is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * JSON. What a codec without `parse` claims of the type is not checked; `parse` (of zod, valibot, or your own) may check
 * and convert, and throws what does not fit.
 */
export function json<T>(options: { parse?: (value: unknown) => T; schema?: object } = {}): Codec<T> {
  const { parse, schema } = options;
  const codec: Codec<T> = {
    encode: encodeJson,
    decode: (payload) => {
      const value = decodeJson(payload);
      return parse === undefined ? (value as T) : parse(value);
    },
  };
  return schema === undefined
    ? codec
    : { ...codec, type: { type: { $case: "jsonSchema", value: JSON.stringify(schema) } } };
}

/** What protobuf code generators for TypeScript make of a message, as far as it matters here. */
export interface MessageCodec<T> {
  encode(message: T): { finish(): Uint8Array } | Uint8Array;
  decode(bytes: Uint8Array): T;
}

const PROTOBUF = "binary/protobuf";

/**
 * A protobuf message, by its full name. `message` has `encode` and `decode`, as ts-proto and protobufjs make them. For
 * protobuf-es: `{ encode: (m) => toBinary(Schema, m), decode: (b) => fromBinary(Schema, b) }`.
 */
export function protobuf<T>(messageName: string, message: MessageCodec<T>): Codec<T> {
  return {
    type: { type: { $case: "messageName", value: messageName } },
    encode: (value) => {
      const encoded = message.encode(value);
      const bytes = encoded instanceof Uint8Array ? encoded : encoded.finish();
      const metadata = new Map([["message_type", messageName]]);
      return { value: { $case: "data", value: Buffer.from(bytes) }, encoding: PROTOBUF, metadata };
    },
    decode: (payload) => {
      const found = payload.metadata.get("message_type") ?? messageName;
      if (payload.value?.$case !== "data" || payload.encoding !== PROTOBUF || found !== messageName) {
        throw new ConversionError(`a message ${messageName} is expected, and the payload is another`);
      }
      return message.decode(payload.value.value);
    },
  };
}

/** Bytes that only your code understands. */
export function bytes(encoding: string): Codec<Uint8Array> {
  return {
    encode: (value) => ({ value: { $case: "data", value: Buffer.from(value) }, encoding, metadata: new Map() }),
    decode: (payload) => {
      if (payload.value?.$case !== "data" || payload.encoding !== encoding) {
        throw new ConversionError(`bytes encoded as ${encoding} are expected, and the payload is another`);
      }
      return new Uint8Array(payload.value.value);
    },
  };
}

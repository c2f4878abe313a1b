/** A graph whose data does not fit does not compile: tsc checks every line here, and that each marked one is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { action, DefinitionError, graph, protobuf, type Client } from "../src/index.js";
import { Sec } from "../src/gen/sagaline/v1/worker_service.js";

const reserve = action("reserve", {}, (input: { seat: number; name?: string }) => ({
  booking: `b${input.seat}`,
  extras: [1, 2],
}));
const pay = action("pay", {}, async (input: { booking: string }) => input.booking.length);

/** Never called: the compiler is the test. */
export function refused(client: Client): void {
  const builder = graph<{ seat: number; city: string }>("refused");
  const params = builder.params;
  const seat = builder.add("seat", reserve, { seat: params.at("seat") });
  builder.add("named", reserve, { seat: 1, name: params.at("city") });
  builder.add("paid", pay, { booking: seat.at("booking") });

  // @ts-expect-error a string is no seat
  builder.add("a", reserve, { seat: params.at("city") });
  // @ts-expect-error a literal of another type
  builder.add("b", reserve, { seat: "7" });
  // @ts-expect-error an input is missing
  builder.add("c", reserve, {});
  // @ts-expect-error an input that the action does not take
  builder.add("d", pay, { booking: "x", more: 1 });
  // @ts-expect-error the whole output where a field is wanted
  builder.add("e", pay, { booking: seat });
  // @ts-expect-error no such field
  seat.at("nothing");
  // @ts-expect-error elements of the list are numbers
  builder.map("f", seat.at("extras"), pay, { item: "booking" });
  builder.map("g", seat.at("extras"), reserve, { item: "seat" });
  // @ts-expect-error the action has no such input
  builder.map("h", seat.at("extras"), reserve, { item: "chair" });

  const built = builder.build(seat);
  const outer = graph<string>("outer");
  // @ts-expect-error parameters of the subsaga
  outer.subsaga("inner", built, outer.params);
  // @ts-expect-error parameters of the saga
  void client.create(built, { seat: 1 });
  // @ts-expect-error the result is no number
  const wrong: Promise<number> = client.run(built, { seat: 1, city: "Oslo" });
  const right: Promise<{ booking: string }> = client.run(built, { seat: 1, city: "Oslo" });
  [wrong, right];

  // @ts-expect-error undo is told the output of the action
  action("x", {}, () => 1, { undo: ({ output }: { output: string | undefined }) => output });
}

test("what types can't see is refused when the graph is built", () => {
  const one = graph("one");
  const other = graph("other");
  const node = one.constant("c", 1);
  assert.throws(() => one.constant("c", 2), DefinitionError);
  assert.throws(() => other.map("m", [1], reserve, { item: "seat", after: [node] }), DefinitionError);
  assert.throws(() => other.build(), DefinitionError);
  assert.throws(() => action("no spaces", {}, () => null), DefinitionError);
  assert.deepEqual(
    one.build(node).message.nodes.map(({ name }) => name),
    ["c"],
  );
});

test("protobuf messages travel as such", () => {
  const codec = protobuf<Sec>("sagaline.v1.Sec", Sec);
  const sec: Sec = { secId: "a", address: "b:1", draining: true };
  const payload = codec.encode(sec);
  assert.equal(payload.encoding, "binary/protobuf");
  assert.equal(payload.metadata.get("message_type"), "sagaline.v1.Sec");
  assert.deepEqual(codec.decode(payload), sec);
  assert.throws(() => codec.decode({ ...payload, metadata: new Map([["message_type", "x.Y"]]) }), {
    code: "CONVERSION_FAILED",
  });
});

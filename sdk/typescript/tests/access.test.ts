/** Worker and client against a SEC that knows its parties by token. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  action,
  Client,
  DefinitionError,
  graph,
  NotAuthenticated,
  NotPermitted,
  Worker,
  type TlsOptions,
  type Token,
} from "../src/index.js";
import { ALONE_MAX } from "../src/client/sharing.js";
import { BOUND, QUIET, Sec, serve, tokenOf } from "./sec.js";

let sec: Sec;
let tls: TlsOptions;

before(async () => {
  ({ sec, tls } = await Sec.startGuarded([
    ["shop", "client"],
    ["carl", "work"],
  ]));
});

after(async () => {
  await sec.stop();
});

const greet = action("greet", {}, ({ name }: { name: string }) => `hello ${name}`);
const builder = graph<string>("greeting");
const GREETING = builder.build(builder.add("greet", greet, { name: builder.params }));

async function withClient<T>(token: Token | undefined, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client(sec.address, { tls, ...(token !== undefined && { token }) });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

test("worker and client show tokens, as they are or made anew for each call", async () => {
  for (const shown of [(party: string) => tokenOf(party), (party: string) => () => Promise.resolve(tokenOf(party))]) {
    const use = (client: Client): Promise<string> => client.run(GREETING, "Ada", { timeout: BOUND });
    await serve(
      sec,
      [greet],
      async () => {
        assert.equal(await withClient(shown("shop"), use), "hello Ada");
      },
      { tls, token: shown("carl") },
    );
  }
});

test("many runs at once show their token with one stream", async () => {
  const names = Array.from({ length: 300 }, (_, n) => `Ada ${String(n)}`);
  const [calls, streams] = [await sec.calls("RunSaga"), await sec.calls("RunSagas")];
  await serve(
    sec,
    [greet],
    async () => {
      const told = await withClient(tokenOf("shop"), (client) =>
        Promise.all(names.map((name) => client.run(GREETING, name, { timeout: BOUND }))),
      );
      assert.deepEqual(
        told,
        names.map((name) => `hello ${name}`),
      );
    },
    { tls, token: tokenOf("carl") },
  );
  assert.equal((await sec.calls("RunSaga")) - calls, ALONE_MAX);
  assert.equal((await sec.calls("RunSagas")) - streams, 1);
});

test("many runs at once with a wrong token are refused, each with the reason", async () => {
  await withClient("wrong", async (client) => {
    const told = await Promise.allSettled(Array.from({ length: 30 }, () => client.run(GREETING, "Ada")));
    for (const each of told) {
      assert.ok(each.status === "rejected" && each.reason instanceof NotAuthenticated);
    }
  });
});

test("a client with no token, or a wrong one, is refused at once", async () => {
  let asked = 0;
  const wrong = (): string => {
    asked += 1;
    return "wrong";
  };
  for (const token of [undefined, wrong]) {
    await assert.rejects(
      withClient(token, (client) => client.get("s")),
      (error: unknown) => error instanceof NotAuthenticated && error.message.includes("authorization: Bearer"),
    );
  }
  assert.equal(asked, 1);
  await assert.rejects(
    withClient(tokenOf("carl"), (client) => client.get("s")),
    (error: unknown) => error instanceof NotPermitted && error.message.includes("carl may work"),
  );
});

test("a client whose token can't be made is refused at once, with the reason", async () => {
  const broken = (): string => {
    throw new RangeError("the vault is shut");
  };
  await assert.rejects(
    withClient(broken, (client) => client.get("s")),
    (error: unknown) => error instanceof NotAuthenticated && error.message.includes("the vault is shut"),
  );
  await assert.rejects(
    withClient(
      () => `${tokenOf("shop")}\n`,
      (client) => client.get("s"),
    ),
    (error: unknown) => error instanceof NotAuthenticated && !error.message.includes(tokenOf("shop")),
  );
});

test("a worker says why it is refused, and is let in when its token is one", async () => {
  const refusals: unknown[] = [];
  const wrong = ["wrong", new Error("the vault is shut")];
  const token = (): string => {
    const next = wrong.shift();
    if (next instanceof Error) {
      throw next;
    }
    return next ?? tokenOf("carl");
  };
  const logger = {
    ...QUIET,
    warn: (_: string, facts?: object) => refusals.push(JSON.stringify(facts)),
    info: (_: string, facts?: object) => refusals.push(JSON.stringify(facts)),
  };
  await serve(sec, [greet], () => Promise.resolve(), { tls, token, logger });
  const said = refusals.join("\n");
  assert.match(said, /UNAUTHENTICATED[^\n]*authorization: Bearer/);
  assert.match(said, /UNAUTHENTICATED[^\n]*the vault is shut/);
});

test("a token is never sent without TLS, and is checked where it is given", () => {
  const actions = [greet];
  for (const given of [{ token: tokenOf("shop") }, { token: () => tokenOf("shop") }]) {
    const refused = { name: "DefinitionError", message: /over TLS only/ };
    assert.throws(() => new Client(sec.address, given), refused);
    assert.throws(() => new Worker(sec.address, { actions, ...given }), refused);
  }
  for (const token of ["", "two words", "line\n", "ümlaut"]) {
    assert.throws(() => new Client(sec.address, { tls, token }), DefinitionError);
    assert.throws(() => new Worker(sec.address, { actions, tls, token }), DefinitionError);
  }
});

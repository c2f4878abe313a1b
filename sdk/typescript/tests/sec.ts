/** A real SEC for tests: `sagaline dev`, in a process and a folder of its own. */

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Client, Worker, type AnyAction, type Logger } from "../src/index.js";

/** What starts a SEC; the Makefile names the one of .venv. */
const COMMAND = process.env["SAGALINE_COMMAND"] ?? "sagaline";
/** Milliseconds for what takes a moment: no test waits for it to be over, however slow the machine. */
export const BOUND = 120_000;

const QUIET: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Serve some actions for as long as `use` takes. */
export async function serve(sec: Sec, actions: readonly AnyAction[], use: () => Promise<void>): Promise<void> {
  const worker = new Worker(sec.address, { actions, slots: 20, logger: QUIET });
  const run = worker.run({ handleSignals: false });
  try {
    await Promise.race([worker.ready, run]);
    await use();
  } finally {
    worker.drain(5_000);
    await run;
  }
}

export class Sec {
  private child: ChildProcess | undefined;

  private constructor(
    readonly address: string,
    private readonly folder: string,
  ) {}

  static async start(): Promise<Sec> {
    const sec = new Sec(`127.0.0.1:${String(await freePort())}`, await mkdtemp(join(tmpdir(), "sagaline-")));
    await sec.begin();
    return sec;
  }

  /** Start it, on the store that it left. */
  async begin(): Promise<void> {
    this.child = spawn(
      COMMAND,
      ["dev", "--listen", this.address, "--data-dir", this.folder, "--log-level", "warning"],
      {
        stdio: ["ignore", "ignore", "inherit"],
      },
    );
    const failed = new Promise<never>((_, reject) => {
      this.child?.once("error", reject);
      this.child?.once("exit", (code) => {
        reject(new Error(`the SEC ended with ${String(code)}`));
      });
    });
    failed.catch(() => undefined); // it may end whenever a test wants it to
    const client = new Client(this.address);
    try {
      await Promise.race([failed, client.list({ timeout: BOUND }).next()]);
    } finally {
      client.close();
    }
  }

  /** End it; `SIGKILL` lets it do nothing more. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill(signal);
      await ended;
    }
  }

  async stop(): Promise<void> {
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

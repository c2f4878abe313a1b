/** A real SEC for tests, in a process and a folder of its own: `sagaline dev`, or one that lets in only who may. */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { Client, Worker, type AnyAction, type Logger, type TlsOptions, type WorkerOptions } from "../src/index.js";

/** What starts a SEC; the Makefile names the one of .venv. */
const COMMAND = process.env["SAGALINE_COMMAND"] ?? "sagaline";
/** The Python of the same environment, which has the server and makes certificates. */
const PYTHON = COMMAND.includes("/") ? join(dirname(COMMAND), "python") : "python3";
/** Milliseconds for what takes a moment: no test waits for it to be over, however slow the machine. */
export const BOUND = 120_000;

export const QUIET: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Serve some actions for as long as `use` takes. */
export async function serve(
  sec: Sec,
  actions: readonly AnyAction[],
  use: () => Promise<void>,
  options: Partial<WorkerOptions> = {},
): Promise<void> {
  const worker = new Worker(sec.address, { actions, slots: 20, logger: QUIET, ...options });
  const run = worker.run({ handleSignals: false });
  try {
    await Promise.race([worker.ready, run]);
    await use();
  } finally {
    worker.drain(5_000);
    await run;
  }
}

/** How a SEC is reached that lets in only who may: by TLS, with `tokenOf` a party. */
export interface Guard {
  readonly tls: TlsOptions;
  readonly token: string;
}

/** What a party of a guarded SEC shows. */
export function tokenOf(party: string): string {
  return `token-of-${party}`;
}

export class Sec {
  private child: ChildProcess | undefined;

  private constructor(
    readonly address: string,
    private readonly folder: string,
    private readonly command: readonly [string, ...string[]],
    /** What `begin` shows. */
    private readonly guard?: Guard,
    private readonly metricsAddress = "",
  ) {}

  static async start(): Promise<Sec> {
    const sec = new Sec(await freeAddress(), await newFolder(), [COMMAND, "dev"]);
    await sec.begin();
    return sec;
  }

  /** One that serves TLS to parties, each with its role; the first may read at least. */
  static async startGuarded(parties: readonly [string, string][]): Promise<{ sec: Sec; tls: TlsOptions }> {
    const folder = await newFolder();
    await promisify(execFile)(PYTHON, ["-m", "trustme", "-q", "-d", folder, "-i", "127.0.0.1"]);
    const access = join(folder, "access.toml");
    await writeFile(access, parties.map(([name, role]) => partyText(name, role)).join(""));
    const tls = { rootCerts: await readFile(join(folder, "client.pem")) };
    const files = ["--tls-cert", join(folder, "server.pem"), "--tls-key", join(folder, "server.key")];
    const command = [PYTHON, "-m", "sagaline_server", ...files, "--access-file", access] as const;
    const metrics = await freeAddress();
    const guard = { tls, token: tokenOf(parties[0]?.[0] ?? "") };
    const sec = new Sec(await freeAddress(), folder, [...command, "--metrics-listen", metrics], guard, metrics);
    await sec.begin();
    return { sec, tls };
  }

  /** Start it, on the store that it left. */
  async begin(): Promise<void> {
    const [program, ...given] = this.command;
    const options = ["--listen", this.address, "--data-dir", join(this.folder, "data"), "--log-level", "warning"];
    this.child = spawn(program, [...given, ...options], { stdio: ["ignore", "ignore", "inherit"] });
    const failed = new Promise<never>((_, reject) => {
      this.child?.once("error", reject);
      this.child?.once("exit", (code) => {
        reject(new Error(`the SEC ended with ${String(code)}`));
      });
    });
    failed.catch(() => undefined); // it may end whenever a test wants it to
    const client = new Client(this.address, this.guard);
    try {
      await Promise.race([failed, client.list({ timeout: BOUND }).next()]);
    } finally {
      client.close();
    }
  }

  /** How many calls of a method of SagaService a guarded one has begun to serve. */
  async calls(method: string): Promise<number> {
    const text = await (await fetch(`http://${this.metricsAddress}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line.startsWith("grpc_server_started_total"));
    const counted = lines.find((line) => line.includes(`grpc_method="${method}"`));
    return Number(counted?.split(" ").at(-1) ?? 0);
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

function partyText(name: string, role: string): string {
  const digest = createHash("sha256").update(tokenOf(name)).digest("hex");
  return `[[party]]\nname = "${name}"\nmay = ["${role}"]\ntoken_sha256 = "${digest}"\n`;
}

function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "sagaline-"));
}

async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${String(port)}`;
}

/** The worker's log: four functions, so that console, pino and winston fit as they are or with one line. */

export interface Logger {
  debug(message: string, facts: Record<string, unknown>): void;
  info(message: string, facts: Record<string, unknown>): void;
  warn(message: string, facts: Record<string, unknown>): void;
  error(message: string, facts: Record<string, unknown>): void;
}

/** Lines of JSON on stderr, without debug. */
export const STDERR: Logger = {
  debug: () => undefined,
  info: (message, facts) => {
    write("info", message, facts);
  },
  warn: (message, facts) => {
    write("warn", message, facts);
  },
  error: (message, facts) => {
    write("error", message, facts);
  },
};

function write(level: string, message: string, facts: Record<string, unknown>): void {
  const plain = (_: string, value: unknown): unknown =>
    typeof value === "bigint" ? String(value) : value instanceof Error ? (value.stack ?? value.message) : value;
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...facts }, plain)}\n`);
}

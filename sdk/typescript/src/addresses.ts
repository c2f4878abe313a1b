/** Addresses of SECs as users give them. */

import { DefinitionError } from "./errors.js";

/** One or several "host:port", with commas between them or as a list. */
export function splitAddresses(given: string | readonly string[]): string[] {
  const addresses = (typeof given === "string" ? [given] : [...given])
    .flatMap((text) => text.split(","))
    .map((text) => text.trim())
    .filter((text) => text !== "");
  for (const address of addresses.length > 0 ? addresses : [""]) {
    const found = /^(.+):(\d{1,5})$/.exec(address);
    const port = Number(found?.[2] ?? 0);
    if (port < 1 || port > 65_535) {
      throw new DefinitionError(`${JSON.stringify(address)} is not the address of a SEC: give host:port`);
    }
  }
  return addresses;
}

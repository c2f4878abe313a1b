/** TLS and tokens: what a connection to a SEC is secured with, and who it says is calling. */

import { credentials, Metadata, status, type ChannelCredentials } from "@grpc/grpc-js";

import { DefinitionError } from "./errors.js";

/** TLS as plain data, for credentials do not cross between threads. */
export interface TlsOptions {
  /** PEM of the authorities to trust. Absent: those of the system. */
  readonly rootCerts?: Uint8Array;
  readonly privateKey?: Uint8Array;
  readonly certChain?: Uint8Array;
}

/**
 * A bearer token, which goes with every call and stream, over TLS only; or what makes one, asked before each. What that
 * throws fails the call with status UNAUTHENTICATED.
 */
export type Token = string | (() => string | Promise<string>);

/** What can stand in a header without being cut or refused on its way. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Throws `DefinitionError` of a token that would go over plain text, or that is none. */
export function checkToken(tls: TlsOptions | undefined, token: Token | undefined): void {
  if (token !== undefined && tls === undefined) {
    throw new DefinitionError("a token is sent over TLS only: give tls, {} to trust the system's authorities");
  }
  if (typeof token === "string") {
    checked(token);
  }
}

/** What a channel to a SEC is made with; throws `DefinitionError` as `checkToken`. */
export function channelCredentials(tls: TlsOptions | undefined, token: Token | undefined): ChannelCredentials {
  checkToken(tls, token);
  if (tls === undefined) {
    return credentials.createInsecure();
  }
  const buffer = (given: Uint8Array | undefined): Buffer | null => (given === undefined ? null : Buffer.from(given));
  const secure = credentials.createSsl(buffer(tls.rootCerts), buffer(tls.privateKey), buffer(tls.certChain));
  return token === undefined ? secure : credentials.combineChannelCredentials(secure, bearer(token));
}

function bearer(token: Token): ReturnType<typeof credentials.createFromMetadataGenerator> {
  const made = async (): Promise<Metadata> => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${checked(typeof token === "string" ? token : await token())}`);
    return metadata;
  };
  return credentials.createFromMetadataGenerator((_, done) => {
    made().then(
      (metadata) => {
        done(null, metadata);
      },
      (error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        done(Object.assign(new Error(`no token: ${why}`, { cause: error }), { code: status.UNAUTHENTICATED }));
      },
    );
  });
}

/** The message leaves the token out: it may reach a log. */
function checked(token: string): string {
  if (!TOKEN.test(token)) {
    throw new DefinitionError("a token is printable ASCII without blanks: trim what was read from a file");
  }
  return token;
}

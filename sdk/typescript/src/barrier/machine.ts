/** What a barrier answers to whatever arrives: data, and one function without I/O. */

/** What is recorded of a node. `UNDONE` and `CANCELLED` are final: undo wins. */
export type State = "DONE" | "FAILED" | "UNDONE" | "CANCELLED";

export type Answer =
  | "run"
  | "output"
  | "failure"
  | "suppressed"
  /** Nothing has to run. */
  | "undone"
  | "stale"
  | "mismatch"
  | "notRecorded";

export interface Row {
  readonly state: State;
  readonly token: bigint;
  readonly digest: Uint8Array;
  readonly output: Uint8Array | null;
  readonly failure: Uint8Array | null;
}

/** One attempt as it reaches the barrier. */
export interface Arrival {
  readonly isUndo: boolean;
  readonly token: bigint;
  readonly digest: Uint8Array;
  /** Whether the SEC has the action's success in its log. */
  readonly actionSucceeded: boolean;
}

interface Rule {
  readonly answer: Answer;
  /** State afterwards; absent: as it is. */
  readonly to?: State;
  /** After an action that failed; absent: the whole transaction is rolled back. */
  readonly onFailed?: State;
  /** Lower tokens and other inputs are refused. What is final is true for everybody. */
  readonly fenced?: true;
  /** It takes the node for one without an effect, which the SEC may know better. */
  readonly nullUndo?: true;
}

const ACTION: Record<State | "NOTHING", Rule> = {
  NOTHING: { answer: "run", to: "DONE", onFailed: "FAILED" },
  DONE: { answer: "output", fenced: true },
  FAILED: { answer: "failure", fenced: true },
  UNDONE: { answer: "suppressed" },
  CANCELLED: { answer: "suppressed" },
};

const UNDO: Record<State | "NOTHING", Rule> = {
  NOTHING: { answer: "undone", to: "CANCELLED", nullUndo: true },
  DONE: { answer: "run", to: "UNDONE", fenced: true },
  FAILED: { answer: "undone", to: "CANCELLED", fenced: true, nullUndo: true },
  UNDONE: { answer: "undone" },
  CANCELLED: { answer: "undone" },
};

export interface Decision {
  readonly answer: Answer;
  readonly to: State | undefined;
  readonly onFailed: State | undefined;
  /** The token is the highest so far, and has to be recorded although the state stays. */
  readonly raisesToken: boolean;
}

/** What becomes of an arrival that found this row. A refusal changes nothing. */
export function decide(row: Row | undefined, arrival: Arrival): Decision {
  const rule = (arrival.isUndo ? UNDO : ACTION)[row?.state ?? "NOTHING"];
  const refuse = (answer: Answer): Decision => ({ answer, to: undefined, onFailed: undefined, raisesToken: false });
  let raisesToken = false;
  if (row !== undefined && rule.fenced === true) {
    if (arrival.token < row.token) {
      return refuse("stale");
    }
    if (Buffer.compare(arrival.digest, row.digest) !== 0) {
      return refuse("mismatch");
    }
    raisesToken = rule.to === undefined && arrival.token > row.token;
  }
  if (rule.nullUndo === true && arrival.actionSucceeded) {
    return refuse("notRecorded");
  }
  return { answer: rule.answer, to: rule.to, onFailed: rule.onFailed, raisesToken };
}

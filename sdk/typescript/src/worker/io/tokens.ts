/** Tokens that user code makes, in the other thread: one wish at a time, shared by the calls that wait meanwhile. */

import { WorkerError } from "../../errors.js";
import { TOKEN_MS } from "../machine/limits.js";
import type { TokenMade } from "./messages.js";

interface Wish {
  readonly answer: Promise<string>;
  readonly resolve: (token: string) => void;
  readonly reject: (error: WorkerError) => void;
}

export class AskedTokens {
  private wish: Wish | undefined;

  constructor(private readonly ask: () => void) {}

  /** The token to show now; rejects when none could be made, or none in time. */
  readonly next = (): Promise<string> => {
    this.wish ??= this.begin();
    return this.wish.answer;
  };

  /** The other thread has answered. */
  made(answer: TokenMade): void {
    const wish = this.wish;
    this.wish = undefined;
    if ("token" in answer) {
      wish?.resolve(answer.token);
    } else {
      wish?.reject(new WorkerError(answer.problem));
    }
  }

  private begin(): Wish {
    let resolve: Wish["resolve"] = () => undefined;
    let reject: Wish["reject"] = () => undefined;
    const answer = new Promise<string>((...settle) => {
      [resolve, reject] = settle;
    });
    const timer = setTimeout(() => {
      this.made({ type: "token", problem: `not made within ${String(TOKEN_MS / 1_000)} s` });
    }, TOKEN_MS);
    const settled = (): void => {
      clearTimeout(timer);
    };
    answer.then(settled, settled);
    this.ask();
    return { answer, resolve, reject };
  }
}

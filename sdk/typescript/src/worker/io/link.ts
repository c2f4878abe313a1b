/**
 * Carries the frames of one session over gRPC: one stream after another. It decides nothing: it feeds the fleet and does
 * what the fleet's effects ask. Whatever ends first, reader or writer, the whole stream ends with it.
 */

import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";

import type { ConnectRequest, ConnectResponse, WorkerServiceClient } from "../../gen/sagaline/v1/worker_service.js";
import type { Effect, EffectOf } from "../machine/effects.js";
import type { Fleet } from "../machine/fleet.js";
import type { Session } from "../machine/session.js";

type Call = ClientDuplexStream<ConnectRequest, ConnectResponse>;

export interface LinkOptions {
  readonly fleet: Fleet;
  readonly session: Session;
  readonly dial: () => WorkerServiceClient;
  readonly apply: (effects: Effect[]) => void;
  readonly statusName: (code: number) => string;
}

export class Link {
  private client: WorkerServiceClient | undefined;
  private call: Call | undefined;
  private writing = false;
  private halfClosing = false;
  private why = "";

  constructor(private readonly options: LinkOptions) {}

  connect({ freshChannel }: EffectOf<"connect">): void {
    const { fleet, session, dial, apply } = this.options;
    if (session.state !== "idle") {
      return;
    }
    if (freshChannel) {
      this.hangUp();
    }
    this.client ??= dial();
    const call = this.client.connect();
    this.call = call;
    this.writing = this.halfClosing = false;
    this.why = "";
    call.on("data", (frame: ConnectResponse) => {
      if (this.call === call) {
        apply(fleet.received(session, frame, performance.now()));
      }
    });
    call.on("error", () => undefined); // its status follows
    call.on("status", (status: StatusObject) => {
      const name = this.options.statusName(status.code);
      this.finish(call, status.details === "" ? name : `${name}: ${status.details}`);
    });
    apply(fleet.opened(session, performance.now()));
  }

  endStream({ why, halfClose }: EffectOf<"endStream">): void {
    this.why = why;
    if (halfClose) {
      this.halfClosing = true;
    } else if (this.call !== undefined) {
      this.finish(this.call, why);
    }
  }

  /** Write the next frame, if the stream is free for it and there is one. */
  pump(): void {
    const { fleet, session, apply } = this.options;
    const call = this.call;
    if (call === undefined || this.writing) {
      return;
    }
    const frame = session.nextFrame(performance.now());
    if (frame !== undefined) {
      this.writing = true;
      call.write(frame, () => {
        if (this.call === call) {
          this.writing = false;
          apply(fleet.written(session, performance.now()));
        }
      });
    } else if (this.halfClosing) {
      this.writing = true;
      call.end();
    }
  }

  hangUp(): void {
    this.client?.close();
    this.client = undefined;
  }

  private finish(call: Call, why: string): void {
    if (this.call === call) {
      const { fleet, session, apply } = this.options;
      this.call = undefined;
      call.cancel();
      apply(fleet.ended(session, performance.now(), this.why === "" ? why : this.why, Math.random()));
    }
  }
}

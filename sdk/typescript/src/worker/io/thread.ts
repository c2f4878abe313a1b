/** What the I/O thread of a worker runs. */

import { workerData } from "node:worker_threads";

import { Engine } from "./engine.js";
import type { Setup, ToIo } from "./messages.js";

const setup = workerData as Setup;
const engine = new Engine(setup, (message) => {
  setup.port.postMessage(message);
  if (message.type === "ended") {
    setup.port.close();
  }
});
setup.port.on("message", (message: ToIo) => {
  engine.receive(message);
});
engine.start();

/**
 * How tests draw: by default from one seed, the same on every machine. `SAGALINE_EXPLORE=20000` draws so many runs from a
 * seed of the moment instead, which a failure names.
 */

import fc from "fast-check";

const EXPLORE = process.env["SAGALINE_EXPLORE"];

fc.configureGlobal(EXPLORE === undefined ? { seed: 1, numRuns: 300 } : { numRuns: Number(EXPLORE) });

export { fc };

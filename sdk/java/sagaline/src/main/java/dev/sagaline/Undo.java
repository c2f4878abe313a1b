package dev.sagaline;

import java.util.Optional;

/**
 * What an undo action is given.
 *
 * @param input of the action
 * @param output of the action; null unless it is known to have succeeded
 * @param known the action succeeded. Otherwise no definite answer of it was ever had: it may have run, not have run, or still
 *     arrive, and the undo action must cope with each
 * @param actionKey idempotency key that every attempt of the action carried: what it did elsewhere can be found by it
 * @param sagaFailure why the saga unwinds, where that is told
 */
public record Undo<I, O>(I input, O output, boolean known, String actionKey, Optional<FailureInfo> sagaFailure) {}

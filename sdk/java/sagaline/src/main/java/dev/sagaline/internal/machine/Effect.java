package dev.sagaline.internal.machine;

import dev.sagaline.v1.ReportResultsRequest;
import dev.sagaline.v1.SecSet;
import java.util.List;
import java.util.Map;
import org.slf4j.event.Level;

/** Something that the shell has to do. */
public sealed interface Effect {
  /** Run user code for an attempt, once, and answer with finished or notStarted. */
  record Start(Attempt attempt) implements Effect {}

  /** Tell the user code of a started attempt why it is to end: an advice first, perhaps, and then an order. */
  record Stop(Ref ref, StopCause cause) implements Effect {}

  /** The session at an address is open, and with this SEC. */
  record Welcomed(String address, String sec, Map<String, String> refused) implements Effect {}

  /**
   * End a stream and then say ended. With halfClose what is queued is still written, only our half is ended, and the
   * SEC's end is waited for.
   */
  record EndStream(String address, String why, boolean halfClose) implements Effect {}

  /** Open a stream and then say opened. */
  record Connect(String address, boolean freshChannel) implements Effect {}

  /** Call ReportResults at an address, with a deadline, and then say called. */
  record Call(String address, ReportResultsRequest request) implements Effect {}

  /** The session at an address is over for good; error says why where nobody asked for that, and is null otherwise. */
  record Closed(String address, String error) implements Effect {}

  /** Something that a person may want to read, never a payload; facts are names and values by turns. */
  record Note(Level level, String text, List<Object> facts) implements Effect {}

  /** For the fleet: from when on a session can do with a new stream. */
  record Reconnect(String address, long at, boolean fresh, int failures) implements Effect {}

  /** For the fleet: who the SECs are. */
  record Members(SecSet secs) implements Effect {}
}

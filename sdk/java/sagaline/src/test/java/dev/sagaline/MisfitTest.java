package dev.sagaline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A graph whose data does not fit does not compile, and what types can't see is refused when the graph is built. */
class MisfitTest {
  private static final String AROUND =
      """
      import dev.sagaline.*;
      import java.util.*;
      import java.util.concurrent.CompletableFuture;

      class Lines {
        record Seat(int number, Optional<String> name) {}
        record Booking(String id, List<Integer> extras) {}
        record Paying(String booking, long cents) {}
        record Trip(int seat, String city, List<Seat> seats) {}

        static final Action<Seat, Booking> RESERVE = Action.declare("reserve", Seat.class, Booking.class);
        static final Action<Paying, Integer> PAY = Action.declare("pay", Paying.class, Integer.class);
        static final Action<String, String> SHOUT = Action.declare("shout", String.class, String.class);

        static final GraphBuilder<Trip> g = Graph.builder("trip", Trip.class);
        static final Ref<Trip> trip = g.params();
        static final Ref<Booking> seat = g.add("seat", RESERVE, Inputs.of(Seat::new, trip.at(Trip::seat), Ref.none()));
        static final Graph<Trip, Booking> built = g.build(seat);
        static final Trip OSLO = new Trip(1, "Oslo", List.of());
        static Client client;
        static Ref<Object> any;

      %s
      }
      """;

  private static final String FITS =
      """
      g.add("a", PAY, Inputs.of(Paying::new, seat.at(Booking::id), Ref.of(5L)));
      g.add("a", RESERVE, Inputs.of(Seat::new, Ref.item(seat.at(Booking::extras), 0), trip.at(Trip::city).optional()));
      g.add("a", SHOUT, trip.at(Trip::city), With.after(seat), With.retry(RetryPolicy.DEFAULT));
      g.map("a", SHOUT, Ref.each(Ref.of(List.of("x"))), With.maxConcurrency(2), With.noUndo());
      g.map("a", RESERVE, Inputs.of(Seat::new, Ref.each(seat.at(Booking::extras)), Ref.none()));
      Ref<List<Booking>> all = g.map("a", RESERVE, Ref.each(trip.at(Trip::seats)), With.canary(1));
      g.map("a", PAY, Inputs.of(Paying::new, Ref.each(Ref.of(List.of("x"))), Ref.of(5L)));
      Ref<List<Optional<Booking>>> some = g.mapSome("a", 1, RESERVE, Ref.each(trip.at(Trip::seats)));
      g.map("a", RESERVE, Inputs.of(Seat::new, Ref.place(), Ref.each(Ref.of(List.of("x"))).optional()));
      Ref<Booking> other = g.subsaga("a", built, trip);
      client.create(NewSaga.of(built, OSLO).id("a"));
      CompletableFuture<Booking> one = client.run(built, OSLO);
      """;

  private static final String MISFITS =
      """
      // a string is no seat
      g.add("a", RESERVE, Inputs.of(Seat::new, trip.at(Trip::city), Ref.none()));
      // neither is it as a literal
      g.add("a", RESERVE, Inputs.of(Seat::new, Ref.of("7"), Ref.none()));
      // an input is missing
      g.add("a", PAY, Inputs.of(Paying::new, seat.at(Booking::id)));
      // an input that the action does not take
      g.add("a", PAY, Inputs.of(Paying::new, seat.at(Booking::id), Ref.of(5L), Ref.of(5L)));
      // inputs of another action
      g.add("a", RESERVE, Inputs.of(Paying::new, seat.at(Booking::id), Ref.of(5L)));
      // the whole output where a field is wanted
      g.add("a", PAY, Inputs.of(Paying::new, seat, Ref.of(5L)));
      // no such field
      seat.at(Booking::nothing);
      // a field of another record
      seat.at(Trip::city);
      // a value of unknown type
      g.add("a", PAY, Inputs.of(Paying::new, any, Ref.of(5L)));
      // elements of the list are numbers
      g.map("a", SHOUT, Ref.each(seat.at(Booking::extras)));
      // some of the outputs may be missing
      Ref<List<Booking>> all = g.mapSome("a", 1, RESERVE, Ref.each(trip.at(Trip::seats)));
      // no list
      g.map("a", SHOUT, Ref.each(trip.at(Trip::city)));
      // parameters of the subsaga
      g.subsaga("a", built, trip.at(Trip::city));
      // a subsaga without its parameters
      g.subsaga("a", built);
      // the output is no string
      Ref<String> text = g.add("a", PAY, Inputs.of(Paying::new, seat.at(Booking::id), Ref.of(5L)));
      // parameters of the saga
      client.create(NewSaga.of(built, "Oslo"));
      // the result is no number
      CompletableFuture<Integer> one = client.run(built, OSLO);
      // an action that does not take nothing
      g.add("a", PAY);
      // a signal has no attempts
      g.signal("a", String.class, With.retry(RetryPolicy.DEFAULT));
      // a map's graph has policies of its own
      g.map("a", built, Ref.each(Ref.of(List.of(OSLO))), With.noUndo());
      // bounds are for maps
      g.add("a", SHOUT, trip.at(Trip::city), With.canary(1));
      // undo is told the output of the action
      SHOUT.undo((context, undo) -> { int number = undo.output(); });
      """;

  @TempDir Path folder;

  /** Those of some statements, each in a method of its own, that the compiler refuses. */
  private List<String> refused(String statements) throws IOException {
    List<String> lines = statements.lines().toList();
    StringBuilder methods = new StringBuilder();
    for (int i = 0; i < lines.size(); i++) {
      boolean isComment = lines.get(i).startsWith("//");
      methods.append(isComment ? lines.get(i) : "static void line" + i + "() { " + lines.get(i) + " }").append('\n');
    }
    JavaFileObject source =
        new SimpleJavaFileObject(URI.create("string:///Lines.java"), JavaFileObject.Kind.SOURCE) {
          @Override
          public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return AROUND.formatted(methods);
          }
        };
    int before = (int) AROUND.lines().takeWhile(line -> !line.contains("%s")).count();
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
    try (StandardJavaFileManager files = compiler.getStandardFileManager(found, Locale.ROOT, null)) {
      files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(folder));
      var options = List.of("-classpath", System.getProperty("java.class.path"), "-proc:none");
      compiler.getTask(new StringWriter(), files, found, options, null, List.of(source)).call();
    }
    return found.getDiagnostics().stream()
        .filter(each -> each.getKind() == Diagnostic.Kind.ERROR)
        .map(each -> lines.get((int) each.getLineNumber() - before - 1))
        .distinct()
        .toList();
  }

  @Test
  void whatFitsCompiles() throws IOException {
    assertEquals(List.of(), refused(FITS));
  }

  @Test
  void whatDoesNotFitDoesNotCompile() throws IOException {
    assertEquals(MISFITS.lines().filter(line -> !line.startsWith("//")).toList(), refused(MISFITS));
  }

  // ---- what types can't see

  record One(String text) {}

  record Two(String text, Optional<Integer> count) {
    Two(Optional<Integer> count, String text) {
      this(text, count);
    }
  }

  record Tree(Tree next) {}

  private static final Action<One, String> ACT = Action.declare("act", One.class, String.class);
  private static final Action<Tree, String> CLIMB = Action.declare("climb", Tree.class, String.class);

  @Test
  void whatTypesCannotSeeIsRefusedWhereItIsWritten() {
    var other = Graph.builder("other");
    var foreign = other.constant("c", "x");
    refused("of another graph", g -> g.add("a", ACT, Inputs.of(One::new, foreign)));
    refused("of another graph", g -> g.delay("a", Duration.ofSeconds(1), With.after(foreign)));
    refused("of another graph", g -> g.build(foreign));
    refused("two nodes a", g -> List.of(g.constant("a", 1), g.constant("a", 2)));
    refused("can't be the name of a node", g -> g.constant("2nd", 1));
    refused("can't be the name of a signal", g -> g.signal("a", String.class, With.signal("no name")));
    refused("after nodes alone", g -> g.delay("a", Duration.ZERO, With.after(g.params())));
    refused("whole output", g -> g.build(Ref.item(g.constant("a", List.of("x")), 0)));
    refused("has no nodes", GraphBuilder::build);
    refused("more than 0", g -> g.signal("a", String.class, With.timeout(Duration.ZERO)));
    refused("Ref.each(list)", g -> g.map("a", ACT, Inputs.of(One::new, g.params())));
    refused("for map nodes", g -> g.add("a", ACT, Inputs.of(One::new, Ref.each(g.constant("l", List.of("x"))))));
    refused("such as Order::customer", g -> g.add("a", ACT, Inputs.of(One::new, g.constant("t", new One("x")).at(x -> x.text()))));
    refused("constructor of their record", g -> g.add("a", ACT, Inputs.of(text -> new One(text), g.params())));
    refused("max attempts is 0", g -> With.retry(RetryPolicy.DEFAULT.maxAttempts(0)));
    assertThrows(DefinitionException.class, () -> Graph.builder("no spaces"));
  }

  @Test
  void anotherConstructorIsRefused() {
    Inputs.Of2<Optional<Integer>, String, Two> swapped = Two::new;
    assertThrows(DefinitionException.class, () -> Inputs.of(swapped, Ref.none(), Ref.of("x")));
    Inputs.Of2<String, Optional<Integer>, Two> canonical = Two::new;
    assertEquals(2, Inputs.of(canonical, Ref.of("x"), Ref.none()).all.size());
  }

  @Test
  void aPathIsNotTooLong() {
    refused(
        "at most 16",
        g -> {
          Ref<Tree> tree = g.signal("tree", Tree.class);
          for (int i = 0; i < 17; i++) {
            tree = tree.at(Tree::next);
          }
          return tree;
        });
  }

  record Numbered(int place, String text) {}

  @Test
  void anElementKnowsItsPlace() {
    var number = Action.declare("number", Numbered.class, String.class);
    var g = Graph.builder("numbers", String.class);
    var list = g.constant("list", List.of("x"));
    g.map("all", number, Inputs.of(Numbered::new, Ref.place(), Ref.each(list)));
    var map = g.build().message().getNodes(1).getMap();
    assertEquals("place", map.getIndex());
    assertEquals("text", map.getItem());
    assertEquals(Map.of(), map.getAction().getInputsMap());
    refused("for map nodes", other -> other.add("a", number, Inputs.of(Numbered::new, Ref.place(), other.params())));
    assertEquals(-1, RetryPolicy.DEFAULT.unbounded().message().getMaxAttempts());
  }

  @Test
  void allOfAValueIsGivenByName() {
    var g = Graph.builder("whole", Tree.class);
    var climbed = g.add("climb", CLIMB, g.params());
    var again = g.add("again", CLIMB, Ref.of(new Tree(null)));
    var graph = g.build(again).message();
    assertEquals(List.of("next"), graph.getNodes(0).getAction().getInputsOrThrow("next").getPathList());
    assertEquals("null", graph.getNodes(1).getAction().getInputsOrThrow("next").getLiteral().getJson());
    assertEquals("climb", climbed.node);
  }

  @Test
  void inputsOfAMapHaveTheNamesThatAreGiven() {
    var any = Action.declare("any", Map.class, Object.class);
    var g = Graph.builder("any", String.class);
    g.add("any", any, Inputs.byName(Map.of("a", g.params(), "b", Ref.of(1))));
    var inputs = g.build().message().getNodes(0).getAction().getInputsMap();
    assertTrue(inputs.get("a").hasParams());
    assertEquals("1", inputs.get("b").getLiteral().getJson());
    refused("Inputs.byName", builder -> builder.add("any", any, Ref.of(Map.of())));
  }

  private static void refused(String problem, Function<GraphBuilder<String>, Object> building) {
    var refusal = assertThrows(DefinitionException.class, () -> building.apply(Graph.builder("refused", String.class)));
    assertTrue(refusal.getMessage().contains(problem), refusal.getMessage());
  }
}

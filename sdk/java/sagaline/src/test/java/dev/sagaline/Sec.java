package dev.sagaline;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A real SEC for tests: {@code sagaline dev}, in a process and a folder of its own. */
final class Sec implements AutoCloseable {
  /** What starts one: scripts/test_java.sh names that of .venv. */
  static final String COMMAND = "SAGALINE_COMMAND";

  private static final long SECONDS = 60;

  final String address;
  private final String metrics;
  private final Path folder;
  private Process process;

  Sec() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        ServerSocket other = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      address = "127.0.0.1:" + socket.getLocalPort();
      metrics = "127.0.0.1:" + other.getLocalPort();
    }
    folder = Files.createTempDirectory("sagaline-");
    begin();
  }

  /** Starts it, on the store that it left, and waits until it answers. */
  void begin() throws Exception {
    var command =
        new ProcessBuilder(
            System.getenv(COMMAND), "dev", "--listen", address, "--data-dir", folder.toString(), "--log-level", "warning");
    command.environment().put("SAGALINE_SERVER_FAULT_INJECTION", "true");
    command.environment().put("SAGALINE_SERVER_METRICS_LISTEN", metrics);
    process = command.inheritIO().redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    try (Client client = Client.connect(address)) {
      var ended = process.onExit().thenApply(gone -> (Object) ("the SEC ended with " + gone.exitValue()));
      Object first = CompletableFuture.anyOf(ended, client.admin().secs()).get(SECONDS, TimeUnit.SECONDS);
      if (first instanceof String problem) {
        throw new IllegalStateException(problem);
      }
    }
  }

  /** How many calls of a method it has begun to serve. */
  long calls(String method) throws Exception {
    var request = HttpRequest.newBuilder(URI.create("http://" + metrics + "/metrics")).timeout(Duration.ofSeconds(SECONDS));
    String page = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString()).body();
    return page.lines()
        .filter(line -> line.startsWith("grpc_server_started_total{") && line.contains("grpc_method=\"" + method + "\""))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(line.lastIndexOf(' '))))
        .sum();
  }

  /** Ends it, and lets it do nothing more. */
  void kill() throws Exception {
    process.destroyForcibly().onExit().get(SECONDS, TimeUnit.SECONDS);
  }

  @Override
  public void close() throws Exception {
    kill();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new IllegalStateException("what the SEC left in " + folder + " can't be removed", e);
    }
  }
}

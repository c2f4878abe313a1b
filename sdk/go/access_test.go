package sagaline_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	sagaline "sagaline.dev/sdk/go"
)

// guardedSEC is where tests/integration/go_sdk has started a SEC over TLS that lets in only who shows a token.
func guardedSEC(t *testing.T) (address string, tls credentials.TransportCredentials) {
	t.Helper()
	address = os.Getenv("SAGALINE_GUARDED_SEC")
	if address == "" {
		t.Skip("SAGALINE_GUARDED_SEC names no SEC: tests/integration/go_sdk starts one and runs this")
	}
	tls, err := credentials.NewClientTLSFromFile(os.Getenv("SAGALINE_CA"), "")
	if err != nil {
		t.Fatal(err)
	}
	return address, tls
}

// heard keeps what is logged, and wakes who waits for that.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (h *heard) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default:
	}
	return h.text.Write(line)
}

// until waits for words.
func (h *heard) until(t *testing.T, words string) {
	t.Helper()
	for end := time.After(bound); ; {
		h.mu.Lock()
		text := h.text.String()
		h.mu.Unlock()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-h.more:
		case <-end:
			t.Fatalf("not logged: %s", text)
		}
	}
}

func TestATokenLetsInAndAWrongOneDoesNot(t *testing.T) {
	address, tls := guardedSEC(t)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	connected := func(token string) *sagaline.Client {
		client, err := sagaline.NewClient(sagaline.ClientConfig{
			Addresses: address, Credentials: tls, PerRPCCredentials: sagaline.Token(token),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	act := sagaline.NewAction("go.guarded", "1", func(_ context.Context, in string) (string, error) { return in + "!", nil })
	graph := echoGraph(t, "go-guarded", act, "one", "two")

	// A worker goes on asking, and says why it is not let in; a file that is put right lets it in.
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	log := &heard{more: make(chan struct{}, 1)}
	worker, err := sagaline.NewWorker(sagaline.WorkerConfig{
		Addresses: address, Actions: []sagaline.Served{act}, Credentials: tls, PerRPCCredentials: sagaline.TokenFile(file),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	running, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() { left <- worker.Run(running) }()
	log.until(t, "nobody is known by what was shown")
	if worker.Connected() {
		t.Fatal("it was let in")
	}
	write("token-of-carl")
	select {
	case <-worker.Ready():
	case <-ctx.Done():
		t.Fatal("no welcome")
	}

	// One run, and as many as share a stream.
	shop := connected("token-of-shop")
	if result, err := sagaline.Run(ctx, shop, graph, "x", sagaline.SagaOptions{}); err != nil || result != "x!!" {
		t.Fatalf("got %q, %v", result, err)
	}
	runMany(t, ctx, shop, graph, 50, "x!!")

	// Each of these is told at once, though calls are repeated where that may help.
	var refused *sagaline.Error
	_, err = sagaline.Run(ctx, connected("wrong"), graph, "x", sagaline.SagaOptions{})
	if !errors.As(err, &refused) || refused.Code != codes.Unauthenticated || refused.Reason != sagaline.ReasonUnauthenticated {
		t.Fatalf("got %v", err)
	}
	_, err = sagaline.Run(ctx, connected("token-of-eve"), graph, "x", sagaline.SagaOptions{})
	if !errors.As(err, &refused) || refused.Code != codes.PermissionDenied || !strings.Contains(err.Error(), "eve may read") {
		t.Fatalf("got %v", err)
	}
	for _, err := range connected("wrong").Watch(ctx, "nobody", 1) {
		if !errors.Is(err, &sagaline.Error{Reason: sagaline.ReasonUnauthenticated}) {
			t.Fatalf("got %v", err)
		}
	}
	leave()
	if err := <-left; err != nil {
		t.Fatal(err)
	}
}

package sagaline

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// doorman is a TLS server that refuses every call, and remembers what was shown.
type doorman struct {
	mu    sync.Mutex
	shown map[string]string // by method
	came  chan string       // methods, as far as there is room
}

func (d *doorman) refuse(ctx context.Context, method string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen, _ := metadata.FromIncomingContext(ctx)
	d.shown[method] = strings.Join(seen.Get("authorization"), "|")
	select {
	case d.came <- method:
	default:
	}
	return status.Error(codes.Unauthenticated, "go away")
}

// standing starts a doorman; returns where, and what trusts its certificate.
func standing(t *testing.T) (*doorman, string, credentials.TransportCredentials) {
	t.Helper()
	certificate, trusting := selfSigned(t)
	d := &doorman{shown: map[string]string{}, came: make(chan string, 100)}
	server := grpc.NewServer(
		grpc.Creds(credentials.NewServerTLSFromCert(&certificate)),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			return d.refuse(stream.Context(), method[strings.LastIndex(method, "/")+1:])
		}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return d, listener.Addr().String(), trusting
}

func selfSigned(t *testing.T) (tls.Certificate, credentials.TransportCredentials) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, credentials.NewClientTLSFromCert(pool, "")
}

func TestATokenIsShownWithEveryCallAndStream(t *testing.T) {
	doorman, address, trusting := standing(t)
	client, err := NewClient(ClientConfig{Addresses: address, Credentials: trusting, PerRPCCredentials: Token("secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Get(t.Context(), "s"); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("got %v", err)
	}
	for _, err := range client.Watch(t.Context(), "s", 1) {
		if status.Code(err) != codes.Unauthenticated {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := client.Step(t.Context(), "s", 1, By{}); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("got %v", err)
	}
	// A stream that is refused refuses the runs that share it, at once.
	client.runs.count(aloneMost)
	graph := newCrowd(t, address).graph
	if _, err := Run(t.Context(), client, graph, "x", SagaOptions{}); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("got %v", err)
	}
	act := NewAction("go.echo", "1", func(_ context.Context, in string) (string, error) { return in, nil })
	worker, err := NewWorker(WorkerConfig{Addresses: address, Actions: []Served{act}, Credentials: trusting, PerRPCCredentials: Token("secret")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- worker.Run(ctx) }()
	for end := time.After(wait); ; {
		select {
		case method := <-doorman.came:
			if method != "Connect" {
				continue
			}
		case <-end:
			t.Fatal("no worker came")
		}
		break
	}
	leave()
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	doorman.mu.Lock()
	defer doorman.mu.Unlock()
	for _, method := range []string{"GetSaga", "WatchSaga", "StepSaga", "RunSaga", "RunSagas", "Connect"} {
		if doorman.shown[method] != "Bearer secret" {
			t.Errorf("%s was shown %q", method, doorman.shown[method])
		}
	}
}

func TestATokenGoesOverTLSOnly(t *testing.T) {
	act := NewAction("go.echo", "1", func(_ context.Context, in string) (string, error) { return in, nil })
	for _, open := range []credentials.TransportCredentials{nil, insecure.NewCredentials()} {
		for _, token := range []credentials.PerRPCCredentials{Token("secret"), TokenFile("token")} {
			var undefinable *DefinitionError
			_, err := NewClient(ClientConfig{Addresses: "127.0.0.1:1", Credentials: open, PerRPCCredentials: token})
			if !errors.As(err, &undefinable) || !strings.Contains(err.Error(), "TLS") {
				t.Errorf("got %v", err)
			}
			_, err = NewWorker(WorkerConfig{Addresses: "127.0.0.1:1", Actions: []Served{act}, Credentials: open, PerRPCCredentials: token})
			if !errors.As(err, &undefinable) || !strings.Contains(err.Error(), "TLS") {
				t.Errorf("got %v", err)
			}
		}
	}
}

func TestATokenThatCannotBeSentIsRefused(t *testing.T) {
	for _, token := range []string{"", "two words", "line\n", "ä"} {
		if shown, err := Token(token).GetRequestMetadata(t.Context()); err == nil {
			t.Errorf("%q gave %v", token, shown)
		}
	}
}

func TestATokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token := TokenFile(path)
	shown := func() string {
		data, err := token.GetRequestMetadata(t.Context())
		if err != nil {
			return "error: " + err.Error()
		}
		return data["authorization"]
	}
	put := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if got := shown(); !strings.Contains(got, "no such file") {
		t.Fatalf("got %q", got)
	}
	for _, text := range []string{"one", "two", "six"} {
		put(text + "\n")
		if got := shown() + " " + shown(); got != "Bearer "+text+" Bearer "+text {
			t.Fatalf("got %q", got)
		}
	}
	if err := os.WriteFile(path, []byte("longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "Bearer longer" {
		t.Fatalf("got %q", got)
	}
	put(" \n")
	if got := shown(); !strings.HasPrefix(got, "error: ") {
		t.Fatalf("got %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// The client hears of it in its error, as of any token that is not taken.
	_, address, trusting := standing(t)
	client, err := NewClient(ClientConfig{Addresses: address, Credentials: trusting, PerRPCCredentials: token})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Get(t.Context(), "s"); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("got %v", err)
	}
}

package sagaline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"sagaline.dev/sdk/go/internal/engine"
	"sagaline.dev/sdk/go/internal/machine"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Version of this SDK.
const Version = "0.1.0"

const (
	retryDelayMax       = 30 * 24 * time.Hour
	defaultSlots        = 100
	defaultDrainTimeout = 25 * time.Second // below the 30 s that most process managers give after SIGTERM
)

// now is the clock of this process.
func now() time.Time { return time.Now() }

// WorkerConfig is what a worker is made of.
type WorkerConfig struct {
	// Addresses of SECs, or of a load balancer before them: "host:port", several with commas between them. One is enough:
	// the SEC there tells where the others are, and the worker connects to each. Required.
	Addresses string
	// Actions that it serves; a name may come in several versions. Required.
	Actions []Served
	// Slots: attempts that run at the same time. 0: 100.
	Slots int
	// Pools are further slots, by the name of the pool.
	Pools map[string]int
	// DrainTimeout is how long running attempts go on when the worker leaves, before they are cancelled. 0: 25 s.
	DrainTimeout time.Duration
	// Identity is for people; "": host and process.
	Identity string
	// BuildID of your code, for people.
	BuildID string
	// Labels are for people.
	Labels map[string]string
	// Credentials for TLS; nil: plain text, for loopback and trusted networks.
	Credentials credentials.TransportCredentials
	// PerRPCCredentials are shown with every call and stream: a [Token], a [TokenFile], or any others; nil: none.
	PerRPCCredentials credentials.PerRPCCredentials
	// SendStackTraces of panics; they are stored in the log.
	SendStackTraces bool
	// Logger; nil: slog.Default.
	Logger *slog.Logger
	// OnWelcome, if set, is told of every session that opens, and of the actions that the SEC refuses.
	OnWelcome func(sec string, refused map[string]string)
}

// Worker serves actions to SECs: it connects to each, runs what it is sent, and reconnects for ever. Nothing of user
// code can hold up its heartbeats.
type Worker struct {
	config    WorkerConfig
	catalog   *catalog
	slots     map[string]int
	addresses []string
	hello     *pb.Hello
	logger    *slog.Logger
	ready     chan struct{}
	readyOnce sync.Once

	mu     sync.Mutex
	engine *engine.Engine
	drain  chan time.Duration
}

// NewWorker makes a worker; Run runs it.
func NewWorker(config WorkerConfig) (*Worker, error) {
	w := &Worker{config: config, ready: make(chan struct{}), logger: config.Logger, drain: make(chan time.Duration, 1)}
	if w.logger == nil {
		w.logger = slog.Default()
	}
	if w.config.DrainTimeout == 0 {
		w.config.DrainTimeout = defaultDrainTimeout
	}
	var err error
	if w.addresses, err = splitAddresses(config.Addresses); err != nil {
		return nil, err
	}
	if err = checkCredentials(config.Credentials, config.PerRPCCredentials); err != nil {
		return nil, err
	}
	if w.slots, err = slotsOf(config); err != nil {
		return nil, err
	}
	if w.catalog, err = newCatalog(config.Actions, w.slots); err != nil {
		return nil, err
	}
	w.hello, err = w.makeHello()
	return w, err
}

func splitAddresses(text string) ([]string, error) {
	var addresses []string
	for address := range strings.SplitSeq(text, ",") {
		address = strings.TrimSpace(address)
		if host, port, found := cutLast(address, ":"); !found || host == "" || port == "" {
			return nil, undefinable("%q is not the address of a SEC: give host:port", address)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func cutLast(text, at string) (before, after string, found bool) {
	i := strings.LastIndex(text, at)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(at):], true
}

func slotsOf(config WorkerConfig) (map[string]int, error) {
	slots := map[string]int{"": config.Slots}
	if config.Slots == 0 {
		slots[""] = defaultSlots
	}
	maps.Copy(slots, config.Pools)
	for pool, count := range slots {
		if count < 1 || count > machine.SlotsMax {
			return nil, undefinable("slots of pool %q: %d; give 1 to %d", pool, count, machine.SlotsMax)
		}
	}
	return slots, nil
}

// makeHello refuses what every SEC would refuse.
func (w *Worker) makeHello() (*pb.Hello, error) {
	identity := w.config.Identity
	if identity == "" {
		host, _ := os.Hostname() // without a name, the process id has to do
		identity = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	hello := &pb.Hello{
		WorkerId: newUUIDv7(), Identity: identity, BuildId: w.config.BuildID, Sdk: "sagaline-go/" + Version,
		Labels: w.config.Labels, Actions: w.catalog.specs,
	}
	texts := map[string]int{identity: machine.IdentityBytes, w.config.BuildID: machine.BuildIDBytes}
	for key, value := range w.config.Labels {
		texts[key], texts[value] = machine.LabelBytes, machine.LabelBytes
	}
	for text, most := range texts {
		if len(text) > most {
			return nil, undefinable("%q has %d bytes; at most %d are sent", text, len(text), most)
		}
	}
	if len(w.config.Labels) > machine.LabelsMax {
		return nil, undefinable("a worker has at most %d labels", machine.LabelsMax)
	}
	if size := proto.Size(hello); size > machine.HelloBytesMax {
		return nil, undefinable("the worker's description has %d bytes: serve fewer actions", size)
	}
	return hello, nil
}

// newUUIDv7 is new for each worker: its first half is the time, so that ids sort by it.
func newUUIDv7() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	milliseconds := now().UnixMilli()
	for i := range 6 {
		id[i] = byte(milliseconds >> (8 * (5 - i)))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return formatUUID(id[:])
}

// ID of this worker, new for each.
func (w *Worker) ID() string { return w.hello.WorkerId }

// Ready is closed when a SEC has welcomed the worker for the first time.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Connected says whether a session with any SEC is open at this moment: what a readiness probe asks.
func (w *Worker) Connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.engine != nil && w.engine.Connected()
}

// Run runs the worker until it has left. When ctx ends it begins to leave: it takes nothing new, hands back what has not
// started, and lets run what runs, for DrainTimeout at most; then it cancels that and gives it 5 s. Actions get the
// values of ctx, and not its end. A worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	e, err := w.start(ctx)
	if err != nil {
		return err
	}
	leaving := ctx.Done()
	for {
		select {
		case <-leaving:
			leaving = nil
			e.Drain(w.config.DrainTimeout)
		case timeout := <-w.drain:
			e.Drain(timeout)
		case <-e.Done():
			if problem := e.Wait(); problem != "" {
				return fmt.Errorf("%w (%s)", ErrReplaced, problem)
			}
			return nil
		}
	}
}

// RunUntilSignal runs the worker until SIGTERM or SIGINT, on which it leaves as Run does; a second one stops it sooner.
func (w *Worker) RunUntilSignal(ctx context.Context) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	over := make(chan struct{})
	defer close(over)
	go func() {
		timeout := w.config.DrainTimeout
		for {
			select {
			case s := <-signals:
				w.logger.Warn("the worker leaves", "signal", s.String(), "timeout", timeout)
				w.Drain(timeout)
				timeout = 0
			case <-over:
				return
			}
		}
	}()
	return w.Run(ctx)
}

// Drain begins to leave, as the end of Run's context does; called again it can only shorten the time.
func (w *Worker) Drain(timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine != nil {
		w.engine.Drain(timeout)
		return
	}
	select { // before Run: it is done there
	case w.drain <- timeout:
	default:
	}
}

func (w *Worker) start(ctx context.Context) (*engine.Engine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine != nil {
		return nil, errors.New("sagaline: this worker was run before: make another one")
	}
	// Many workers with the same list should not all begin with the same SEC.
	mathrand.Shuffle(len(w.addresses), func(i, j int) { w.addresses[i], w.addresses[j] = w.addresses[j], w.addresses[i] })
	fleet := machine.NewFleet(w.hello, machine.NewHoldings(w.catalog.pools, w.slots), w.addresses)
	w.engine = engine.Start(ctx, engine.Config{
		Fleet: fleet, Dial: w.dial, Run: w.runAttempt, Welcome: w.welcomed, Logger: w.logger,
	})
	return w.engine, nil
}

func (w *Worker) dial(address string) (*grpc.ClientConn, error) {
	return dial(address, w.config.Credentials, w.config.PerRPCCredentials)
}

func dial(address string, creds credentials.TransportCredentials, shown credentials.PerRPCCredentials) (*grpc.ClientConn, error) {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(),
		// Half-open connections are found by pings, also between streams; a SEC allows one in 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		// The session's own backoff decides when to try again, so the connection's must not be longer.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if shown != nil {
		options = append(options, grpc.WithPerRPCCredentials(shown))
	}
	return grpc.NewClient(address, options...)
}

func (w *Worker) welcomed(welcome machine.Welcomed) {
	w.logger.Info("welcomed", "sec", welcome.SEC, "address", welcome.Address, "worker", w.ID())
	for action, reason := range welcome.Refused {
		w.logger.Error("a SEC refuses an action: it gets no work from there", "sec", welcome.SEC, "action", action, "reason", reason)
	}
	w.readyOnce.Do(func() { close(w.ready) })
	if w.config.OnWelcome != nil {
		w.config.OnWelcome(welcome.SEC, welcome.Refused)
	}
}

// runAttempt runs user code and turns how it ended into an outcome.
func (w *Worker) runAttempt(ctx context.Context, run *engine.Run) machine.Outcome {
	invocation := run.Invocation
	version := invocation.GetVersion()
	if version == "" {
		version = "1"
	}
	side := w.catalog.sides[machine.Side{Action: invocation.GetAction(), Version: version, Kind: invocation.GetRef().GetKind()}]
	ctx = WithInfo(ctx, infoOf(run))
	output, err := call(ctx, side, invocation)
	if err == nil {
		return machine.Outcome{Output: output}
	}
	failure := failureOf(ctx, err, w.config.SendStackTraces)
	level := slog.LevelWarn
	if outcome := (*Outcome)(nil); errors.As(err, &outcome) {
		level = slog.LevelInfo // user code says what it means
	}
	w.logger.Log(ctx, level, "an attempt did not succeed", "attempt", machine.RefOf(invocation.GetRef()),
		"action", invocation.GetAction(), "type", failure.Type, "message", failure.Message)
	return machine.Outcome{Failure: failure}
}

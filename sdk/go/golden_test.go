package sagaline_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	sagaline "sagaline.dev/sdk/go"
	pb "sagaline.dev/sdk/go/sagaline/v1"
)

type (
	host struct {
		Name  string `json:"name"`
		Cores int    `json:"cores"`
	}
	rackOrder struct {
		Rack   string   `json:"rack"`
		Images []string `json:"images"`
		Spare  host     `json:"spare"`
		Hosts  []host   `json:"hosts"`
	}
	pickInput struct {
		Rack  string `json:"rack"`
		Count int    `json:"count"`
	}
	checkInput struct {
		Host string `json:"host"`
	}
	bootInput struct {
		Host    string `json:"host"`
		Healthy bool   `json:"healthy"`
	}
	flashInput struct {
		Host  host   `json:"host"`
		Image string `json:"image"`
	}
	labelInput struct {
		Host  host `json:"host"`
		Place int  `json:"place"`
	}
	enlistInput struct {
		Sec *pb.Sec `json:"sec"`
	}
	cutInput struct {
		Rack string `json:"rack"`
	}
	announceInput struct {
		Host   string   `json:"host"`
		Booted []string `json:"booted"`
	}
)

var (
	pick     = sagaline.Declare[pickInput, []host]("hosts.pick", "2")
	check    = sagaline.Declare[checkInput, bool]("hosts.check", "1")
	boot     = sagaline.Declare[bootInput, string]("hosts.boot", "1")
	flash    = sagaline.Declare[flashInput, string]("hosts.flash", "1")
	label    = sagaline.Declare[labelInput, bool]("hosts.label", "1")
	enlist   = sagaline.Declare[enlistInput, *pb.Sec]("secs.enlist", "1")
	cut      = sagaline.Declare[cutInput, sagaline.None]("rack.cut", "1")
	announce = sagaline.Declare[announceInput, string]("rack.announce", "1")
)

func name(h *host) *string { return &h.Name }

func serverGraph() *sagaline.Graph[host, string] {
	g, params := sagaline.NewGraph[host]("server")
	healthy := sagaline.Add(g, "check", check,
		sagaline.With(sagaline.Bind(func(in *checkInput) *string { return &in.Host }, sagaline.Field(params, name))),
		sagaline.Irreversible(false))
	booted := sagaline.Add(g, "boot", boot, sagaline.With(
		sagaline.Bind(func(in *bootInput) *string { return &in.Host }, sagaline.Field(params, name)),
		sagaline.Bind(func(in *bootInput) *bool { return &in.Healthy }, healthy),
	),
		sagaline.WithUndoRetry(sagaline.RetryPolicy{MaxAttempts: 7, InitialBackoff: 20 * time.Millisecond}),
		sagaline.WithUndoTimeouts(sagaline.Timeouts{StartToClose: 9 * time.Second, Heartbeat: 2 * time.Second}),
		sagaline.WithUnknown(sagaline.UndoUnknown))
	return sagaline.MustBuild(params, booted)
}

func idleGraph(t *testing.T) *sagaline.Graph[sagaline.None, any] {
	g, params := sagaline.NewGraph[sagaline.None]("idle")
	sagaline.Delay(g, "rest", 0)
	graph, err := sagaline.BuildAll(params)
	if err != nil {
		t.Fatal(err)
	}
	return graph
}

func goldenGraph(t *testing.T) *sagaline.Graph[rackOrder, string] {
	g, params := sagaline.NewGraph[rackOrder]("golden")
	noJitter := 0.0
	size := sagaline.Constant(g, "size", 3)
	picked := sagaline.Add(g, "pick", pick, sagaline.With(
		sagaline.Bind(func(in *pickInput) *string { return &in.Rack }, sagaline.Field(params, func(o *rackOrder) *string { return &o.Rack })),
		sagaline.Bind(func(in *pickInput) *int { return &in.Count }, size),
	),
		sagaline.WithRetry(sagaline.RetryPolicy{
			MaxAttempts: 9, InitialBackoff: 250 * time.Millisecond, MaxBackoff: 2 * time.Minute, Multiplier: 1.5, Jitter: &noJitter,
			TotalTimeout: time.Hour, NonRetryableTypes: []string{"NoSuchRack", "Closed"},
		}),
		sagaline.WithTimeouts(sagaline.Timeouts{ScheduleToStart: 5 * time.Minute, StartToClose: 30 * time.Second, Heartbeat: 3 * time.Second}),
		sagaline.WithNoUndo(), sagaline.WithUnknown(sagaline.RetryThenUndo))
	approved := sagaline.SignalNamed[host](g, "approved", "go", 12*time.Hour, picked)
	word := sagaline.Signal[string](g, "word", 0)
	rest := sagaline.Delay(g, "rest", 90*time.Second+5*time.Millisecond, approved, word)
	first := sagaline.Subsaga(g, "first", serverGraph(), sagaline.Index(picked, 0), rest)
	sagaline.Subsaga(g, "idle", idleGraph(t), sagaline.NoParams(), first)
	hosts := sagaline.Field(params, func(o *rackOrder) *[]host { return &o.Hosts })
	fleet := sagaline.MapGraph(g, "fleet", serverGraph(), hosts, sagaline.MapOptions{MaxConcurrency: 4, Canary: 1, MaxFailures: 2}, rest)
	image, element := func(in *flashInput) *string { return &in.Image }, func(in *flashInput) *host { return &in.Host }
	images := sagaline.Field(params, func(o *rackOrder) *[]string { return &o.Images })
	flashed := sagaline.MapField(g, "flashed", flash, picked, element, sagaline.With(sagaline.Bind(image, sagaline.Index(images, 1))),
		sagaline.MapOptions{MaxConcurrency: 2},
		sagaline.After(rest, first), sagaline.Irreversible(true), sagaline.WithUnknown(sagaline.HoldUnknown))
	sagaline.MapField(g, "again", flash, sagaline.Literal([]host{{"spare", 2}}), element,
		sagaline.With(sagaline.Bind(image, sagaline.Literal("v1"))), sagaline.MapOptions{Canary: 1}, sagaline.WithUndo())
	sec := sagaline.Literal(&pb.Sec{SecId: "a", Address: "b:1"})
	enlisted := sagaline.Add(g, "enlist", enlist, sagaline.With(sagaline.Bind(func(in *enlistInput) **pb.Sec { return &in.Sec }, sec)),
		sagaline.WithNoUndo())
	gone := sagaline.Add(g, "cut", cut,
		sagaline.With(sagaline.Bind(func(in *cutInput) *string { return &in.Rack }, sagaline.Field(approved, name))),
		sagaline.Pivot(), sagaline.After(fleet, flashed, enlisted))
	told := sagaline.Add(g, "tell", announce, sagaline.With(
		sagaline.Bind(func(in *announceInput) *string { return &in.Host }, first),
		sagaline.Bind(func(in *announceInput) *[]string { return &in.Booted }, fleet),
	), sagaline.WithNoUndo(), sagaline.WithRetry(sagaline.RetryPolicy{}), sagaline.After(gone))
	return sagaline.MustBuild(params, told)
}

// withoutSchemas takes out of a graph what each language says in its own way.
func withoutSchemas(graph *pb.Graph) {
	for _, node := range graph.GetNodes() {
		action := node.GetAction()
		if each := node.GetMap().GetAction(); each != nil {
			action = each
		}
		for name, spec := range action.GetInputTypes() {
			if spec.GetMessageName() == "" {
				delete(action.GetInputTypes(), name)
			}
		}
		if action != nil && action.GetOutputType().GetMessageName() == "" {
			action.OutputType = nil
		}
		for _, inner := range []*pb.Graph{node.GetSubsaga().GetGraph(), node.GetMap().GetSubsaga().GetGraph()} {
			withoutSchemas(inner)
		}
	}
}

func placesGraph() *sagaline.Graph[[]host, []bool] {
	g, params := sagaline.NewGraph[[]host]("places")
	labelled := sagaline.MapField(g, "labelled", label, params, func(in *labelInput) *host { return &in.Host },
		sagaline.With(sagaline.BindIndex(func(in *labelInput) *int { return &in.Place })), sagaline.MapOptions{},
		sagaline.WithNoUndo(), sagaline.WithRetry(sagaline.RetryPolicy{MaxAttempts: sagaline.Unbounded}))
	return sagaline.MustBuild(params, labelled)
}

// TestTheGoldenGraph: tests/golden has the graphs that the builders of all SDKs make alike.
func TestTheGoldenGraph(t *testing.T) {
	built := map[string]*pb.Graph{"graph": goldenGraph(t).Message(), "places": placesGraph().Message()}
	for name, built := range built {
		encoded, err := os.ReadFile("../../tests/golden/" + name + ".binpb")
		if err != nil {
			t.Fatal(err)
		}
		golden := &pb.Graph{}
		if err := proto.Unmarshal(encoded, golden); err != nil {
			t.Fatal(err)
		}
		withoutSchemas(built)
		for i, want := range golden.GetNodes() {
			if i < len(built.GetNodes()) && !proto.Equal(want, built.GetNodes()[i]) {
				t.Errorf("%s\nis not %s", protojson.Format(built.GetNodes()[i]), protojson.Format(want))
			}
		}
		if !proto.Equal(golden, built) {
			t.Errorf("%s: %d nodes, not %d", name, len(built.GetNodes()), len(golden.GetNodes()))
		}
	}
}

func TestWhatAMapCantBe(t *testing.T) {
	g, params := sagaline.NewGraph[[]host]("bad")
	element := func(in *flashInput) *host { return &in.Host }
	sagaline.MapField(g, "one", flash, params, element, nil, sagaline.MapOptions{}, sagaline.Pivot())
	sagaline.SignalNamed[string](g, "two", "no name", 0)
	sagaline.Add(g, "three", label, sagaline.With(sagaline.BindIndex(func(in *labelInput) *int { return &in.Place })))
	_, err := sagaline.BuildAll(params)
	for _, problem := range []string{"input image of action hosts.flash is not given", "a pivot is one node", `"no name" can't be the name`, "this is no map"} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q is not among %v", problem, err)
		}
	}
	_, nothing := sagaline.NewGraph[sagaline.None]("empty")
	if _, err := sagaline.BuildAll(nothing); err == nil {
		t.Error("a graph without nodes was built")
	}
}

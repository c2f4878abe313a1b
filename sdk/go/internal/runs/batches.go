package runs

import (
	"container/list"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Bounds of what goes over one stream.
const (
	// SagasMost in a frame; the protocol allows 1,000.
	SagasMost = 500
	// bytesMost: a frame is closed before it grows over this; one spec that is larger goes alone.
	bytesMost = 768 << 10
	// graphsMost go beside the specs of one stream, and graphBytesMost of them; those beyond go inside their specs.
	graphsMost     = 1000
	graphBytesMost = 8 << 20
)

// batches cuts the sagas of one stream into frames, and sends each graph once.
type batches struct {
	queue  *list.List // of specs
	places map[string]*list.Element
	// Graphs never change, and comparing them would cost more than it saves: a graph is known by where it is.
	keys       map[*pb.Graph]string
	graphBytes int
}

func newBatches() *batches {
	return &batches{list.New(), map[string]*list.Element{}, map[*pb.Graph]string{}, 0}
}

func (b *batches) len() int { return b.queue.Len() }

func (b *batches) add(spec *pb.SagaSpec) { b.places[spec.GetSagaId()] = b.queue.PushBack(spec) }

// drop leaves a saga out that is in no frame yet.
func (b *batches) drop(id string) {
	if place := b.places[id]; place != nil {
		b.queue.Remove(place)
		delete(b.places, id)
	}
}

// next gives the specs of the next frame, in the order they were added, and the graphs that have to go with them.
func (b *batches) next() (specs []*pb.SagaSpec, graphs map[string]*pb.Graph) {
	graphs = map[string]*pb.Graph{}
	size := 0
	for first := b.queue.Front(); first != nil && len(specs) < SagasMost; first = b.queue.Front() {
		whole := first.Value.(*pb.SagaSpec)
		spec, graph := b.cut(whole)
		graphSize := proto.Size(graph)
		if size += proto.Size(spec) + graphSize; len(specs) > 0 && size > bytesMost {
			break
		}
		b.drop(whole.GetSagaId())
		specs = append(specs, spec)
		if graph != nil {
			graphs[spec.GetGraphKey()], b.keys[graph] = graph, spec.GetGraphKey()
			b.graphBytes += graphSize
		}
	}
	return specs, graphs
}

// cut gives the spec to send, and its graph if that has to go beside it.
func (b *batches) cut(whole *pb.SagaSpec) (*pb.SagaSpec, *pb.Graph) {
	graph := whole.GetGraph()
	if key, known := b.keys[graph]; known {
		return keyed(whole, key), nil
	}
	if len(b.keys) >= graphsMost || b.graphBytes+proto.Size(graph) > graphBytesMost {
		return whole, nil
	}
	return keyed(whole, fmt.Sprintf("g%d", len(b.keys))), graph
}

// keyed gives a spec that names its graph and shares everything else with the whole one.
func keyed(whole *pb.SagaSpec, key string) *pb.SagaSpec {
	spec := &pb.SagaSpec{}
	whole.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		spec.ProtoReflect().Set(field, value)
		return true
	})
	spec.Graph, spec.GraphKey = nil, key
	return spec
}

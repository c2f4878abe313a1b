package barrier

import (
	"encoding/hex"
	"testing"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// TestDigestIsThatOfTheOtherLanguages: the Python SDK's digest of the same inputs, so that both can share a table.
func TestDigestIsThatOfTheOtherLanguages(t *testing.T) {
	got := hex.EncodeToString(digest(map[string]*pb.Payload{
		"b": {Value: &pb.Payload_Json{Json: `"Ada"`}},
		"a": {
			Value: &pb.Payload_Data{Data: []byte{1, 2}}, Encoding: "binary/protobuf",
			Metadata: map[string]string{"message_type": "x.Y", "k": "v"},
		},
		"é": {},
	}))
	if got != "6d6a13e07f03988d8278e5b12436b75879e674e8e79b9b174252e28b2d3d26bd" {
		t.Fatalf("got %s", got)
	}
}

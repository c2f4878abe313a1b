package sagaline

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Token makes credentials that show a party's token with every call and stream, over TLS only.
func Token(token string) credentials.PerRPCCredentials {
	return bearer(func() (string, error) { return token, nil })
}

// TokenFile makes credentials that show the token in a file with every call and stream, over TLS only. The file is read
// again when another one is in its place, or it has changed; space around the token counts for nothing. While it can't be
// read, calls end with UNAUTHENTICATED.
func TokenFile(path string) credentials.PerRPCCredentials {
	return bearer((&tokenFile{path: path}).token)
}

// bearer is where a token comes from.
type bearer func() (string, error)

// GetRequestMetadata is for gRPC.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b()
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) || token == "" {
		return nil, errors.New("a token has at least one character, and only those that are printed in ASCII")
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity is for gRPC: whoever reads a token may do what its party may.
func (bearer) RequireTransportSecurity() bool { return true }

type tokenFile struct {
	path string

	mu   sync.Mutex
	read os.FileInfo // of the file as it was read; nil: it was not
	text string
}

func (f *tokenFile) token() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	if f.read != nil && os.SameFile(f.read, info) && f.read.ModTime().Equal(info.ModTime()) && f.read.Size() == info.Size() {
		return f.text, nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return "", err
	}
	f.read, f.text = info, strings.TrimSpace(string(text))
	return f.text, nil
}

// checkCredentials refuses what gRPC would refuse at the first call.
func checkCredentials(tls credentials.TransportCredentials, shown credentials.PerRPCCredentials) error {
	if shown == nil || !shown.RequireTransportSecurity() {
		return nil
	}
	if tls == nil || tls.Info().SecurityProtocol == "insecure" {
		return undefinable("a token is sent over TLS only: give Credentials")
	}
	return nil
}

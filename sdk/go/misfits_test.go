package sagaline_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGraphsThatDoNotFitDoNotCompile builds programs that are wrong in one line each.
func TestGraphsThatDoNotFitDoNotCompile(t *testing.T) {
	programs, err := filepath.Glob("testdata/misfits/*.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for _, program := range programs {
		t.Run(filepath.Base(program), func(t *testing.T) {
			text, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(text), "// want: ")
			want, _, _ := strings.Cut(after, "\n")
			said, err := exec.Command("go", "build", "-o", os.DevNull, program).CombinedOutput()
			if err == nil || want == "" || !strings.Contains(string(said), want) {
				t.Fatalf("it should not compile, with %q: %v\n%s", want, err, said)
			}
			if problems := strings.Count(string(said), program+":"); problems != 1 {
				t.Fatalf("%d problems:\n%s", problems, said)
			}
		})
	}
}

package disk

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a root with a file in it, a secret beside it, and links.
func tree(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, dir := range []string{"root/sub/deep", "other"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"root/a.txt": "hello", "root/sub/b.txt": "b", "other/secret": "secret"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"root/in": "a.txt", "root/sub/up": "../a.txt", "root/out": "../other/secret", "root/away": "../other",
		"root/abs": filepath.Join(top, "other/secret"), "root/loop": "loop", "current": "root", "root/self": "/proc/self/root",
	} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(root, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return root
}

// outcome is what a query for one name says, in a word.
func outcome(q *Query) string {
	defer q.File.Close()
	switch {
	case q.Err != nil && Forbidden(q.Err):
		return "forbidden"
	case q.Err != nil:
		return q.Err.Error()
	case q.At == len(q.Names):
		return "missing"
	case q.File.Directory:
		return "directory"
	case !q.File.Regular:
		return "special"
	}
	b := make([]byte, q.File.Size)
	if _, err := q.File.ReadAt(b, 0); err != nil {
		return err.Error()
	}
	return string(b)
}

func TestNames(t *testing.T) {
	root := tree(t)
	long := strings.Repeat("a", 300)
	for _, c := range []struct {
		name, path string
		want       string // with LinksInside
		any, none  string // where the other policies differ
	}{
		{"file", "a.txt", "hello", "", ""},
		{"file below", "sub/b.txt", "b", "", ""},
		{"leading slashes", "//a.txt", "hello", "", ""},
		{"double slash", "sub//b.txt", "b", "", ""},
		{"directory", "sub", "directory", "", ""},
		{"directory with slash", "sub/", "directory", "", ""},
		{"the root itself", "", "directory", "", ""},
		{"dot", ".", "directory", "", ""},
		{"nothing there", "none", "missing", "", ""},
		{"below a file", "a.txt/x", "missing", "", ""},
		{"file with slash", "a.txt/", "missing", "", ""},
		{"too long", long, "missing", "", ""},
		{"too long a path", strings.Repeat("a/", 4000), "missing", "", ""},
		{"dot dot", "../other/secret", "missing", "", ""},
		{"dot dot inside", "sub/../a.txt", "missing", "", ""},
		{"dot dot at the end", "sub/..", "missing", "", ""},
		{"NUL", "a.txt\x00.png", "missing", "", ""},
		{"names of dots", "...", "missing", "", ""},
		{"link inside", "in", "hello", "", "forbidden"},
		{"link up but inside", "sub/up", "hello", "", "forbidden"},
		{"link out", "out", "forbidden", "secret", ""},
		{"through a link out", "away/secret", "forbidden", "secret", ""},
		{"absolute link", "abs", "forbidden", "secret", ""},
		{"link to itself", "loop", "forbidden", "", ""},
		{"magic link", "self/etc/hostname", "forbidden", "-", ""},
		{"fifo", "fifo", "special", "", ""},
		{"socket", "sock", "missing", "", ""},
	} {
		for links, want := range map[Links]string{LinksInside: c.want, LinksAny: c.any, LinksNone: c.none} {
			for _, old := range []bool{false, true} {
				if want == "" {
					want = c.want
				}
				if want == "-" {
					continue
				}
				noOpenat2.Store(old)
				q := Query{Root: root, Links: links, Names: []Name{{Path: c.path}}}
				q.Run(0)
				if got := outcome(&q); got != want {
					t.Errorf("%s, links %d, old kernel %v: %q, want %q", c.name, links, old, got, want)
				}
			}
		}
		noOpenat2.Store(false)
	}
}

func TestFirstOfSeveral(t *testing.T) {
	root := tree(t)
	for _, c := range []struct {
		name  string
		names []Name
		from  int
		at    int
		bad   bool
	}{
		{"first", []Name{{"a.txt", Other}, {"sub", Directory}}, 0, 0, false},
		{"second", []Name{{"none", Other}, {"sub", Directory}}, 0, 1, false},
		{"kind decides", []Name{{"a.txt", Directory}, {"sub", Other}, {"sub", Any}}, 0, 2, false},
		{"none", []Name{{"none", Any}, {"nor", Any}}, 0, 2, false},
		{"stops at what is forbidden", []Name{{"out", Other}, {"a.txt", Other}}, 0, 0, true},
		{"goes on behind it", []Name{{"out", Other}, {"a.txt", Other}}, 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := Query{Root: root, Names: c.names, Test: true}
			q.Run(c.from)
			defer q.File.Close()
			if q.At != c.at || (q.Err != nil) != c.bad || q.File.IsOpen() != (!c.bad && c.at < len(c.names)) {
				t.Errorf("at %d (%v), want %d", q.At, q.Err, c.at)
			}
		})
	}
}

// A root that is a link to a release is followed to where it leads at the time.
func TestRootIsResolvedEachTime(t *testing.T) {
	root := tree(t)
	current := filepath.Join(filepath.Dir(root), "current")
	q := Query{Root: current, Names: []Name{{Path: "a.txt"}}}
	q.Run(0)
	if got := outcome(&q); got != "hello" {
		t.Errorf("%q", got)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", current); err != nil {
		t.Fatal(err)
	}
	q = Query{Root: current, Names: []Name{{Path: "secret"}}}
	q.Run(0)
	if got := outcome(&q); got != "secret" {
		t.Errorf("after the link was turned: %q", got)
	}
	q = Query{Root: current + "\x00", Names: []Name{{Path: "secret"}}}
	q.Run(0)
	if got := outcome(&q); got != "missing" {
		t.Errorf("root with NUL: %q", got)
	}
}

func TestFileBecomesShorter(t *testing.T) {
	root := tree(t)
	q := Query{Root: root, Names: []Name{{Path: "a.txt"}}}
	q.Run(0)
	defer q.File.Close()
	if err := os.Truncate(filepath.Join(root, "a.txt"), 2); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if n, err := q.File.ReadAt(b, 0); n != 2 || err != io.ErrUnexpectedEOF {
		t.Errorf("%d, %v", n, err)
	}
	if q.File.Size != 5 {
		t.Errorf("size %d, want that of the opening", q.File.Size)
	}
}

// No name opens anything outside, whatever the bytes.
func FuzzNamesStayBeneath(f *testing.F) {
	for _, name := range []string{"a.txt", "../other/secret", "away/secret", "out", "sub/../../other/secret", "/etc/passwd", "self/etc/passwd", "\x00", "./.", "sub/up"} {
		f.Add(name)
	}
	top, err := os.MkdirTemp("", "beneath")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(top) })
	root := filepath.Join(top, "root")
	_ = os.MkdirAll(filepath.Join(root, "sub"), 0o755)
	_ = os.MkdirAll(filepath.Join(top, "other"), 0o755)
	_ = os.WriteFile(filepath.Join(root, "a.txt"), []byte("hello"), 0o644)
	_ = os.WriteFile(filepath.Join(top, "other/secret"), []byte("secret"), 0o644)
	_ = os.Symlink("../other", filepath.Join(root, "away"))
	_ = os.Symlink("../a.txt", filepath.Join(root, "sub/up"))
	f.Fuzz(func(t *testing.T, name string) {
		for _, links := range []Links{LinksInside, LinksNone} {
			q := Query{Root: root, Links: links, Names: []Name{{Path: name}}}
			q.Run(0)
			if got := outcome(&q); got != "hello" && got != "missing" && got != "directory" && got != "forbidden" {
				t.Fatalf("%q: %q", name, got)
			}
		}
	})
}

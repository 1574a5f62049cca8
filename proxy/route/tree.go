package route

import "strings"

// node is a node of a radix tree: the bytes from the root to it, labels joined,
// are the text of the patterns it holds.
//
//	root ""             prefixes: rules without paths
//	 └ "/"              prefixes: "/"
//	    ├ "a"           (only a fork)
//	    │  ├ "dmin/"    prefixes: "/admin/", above -> "/"
//	    │  └ "pi"       exact: "= /api", prefixes: "/api"
//	    └ "orders/"     ...
type node struct {
	label    string
	first    string  // first byte of each child's label
	children []*node // in the order of first
	exact    []entry // in file order
	prefixes []entry // in file order
	above    *node   // the nearest node towards the root that holds prefixes
}

// insert returns the node for text, made when it is not there yet.
func (n *node) insert(text string) *node {
	if text == "" {
		return n
	}
	i := strings.IndexByte(n.first, text[0])
	if i < 0 {
		leaf := &node{label: text}
		n.first += text[:1]
		n.children = append(n.children, leaf)
		return leaf
	}
	child := n.children[i]
	same := commonPrefix(child.label, text)
	if same < len(child.label) {
		// The new text leaves the child's label half way: put a fork there.
		fork := &node{label: child.label[:same], first: child.label[same : same+1], children: []*node{child}}
		child.label = child.label[same:]
		n.children[i] = fork
		child = fork
	}
	return child.insert(text[same:])
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// link sets above in the whole tree.
func (n *node) link(above *node) {
	n.above = above
	if len(n.prefixes) > 0 {
		above = n
	}
	for _, child := range n.children {
		child.link(above)
	}
}

// find walks down along path. longest is the deepest node on the way that holds
// prefixes, exact the node whose text is the whole path; either may be nil.
func (n *node) find(path []byte) (longest, exact *node) {
	for {
		if len(n.prefixes) > 0 {
			longest = n
		}
		if len(path) == 0 {
			return longest, n
		}
		child := n.child(path[0])
		if child == nil {
			return longest, nil
		}
		size := len(child.label)
		if size > 1 && (len(path) < size || string(path[1:size]) != child.label[1:]) {
			return longest, nil
		}
		path = path[size:]
		n = child
	}
}

// child is the one whose label begins with c, or nil. Most nodes have few.
func (n *node) child(c byte) *node {
	for i := range len(n.first) {
		if n.first[i] == c {
			return n.children[i]
		}
	}
	return nil
}

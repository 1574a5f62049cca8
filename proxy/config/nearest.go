package config

import "strings"

// nearest returns the candidate that is the fewest slips of the keyboard away
// from word, if they are few enough for a slip: one in short words, a third of
// the letters in long ones. Failing that, one that word is the beginning of, or
// the other way round ("warning" for "warn"). Numbers have no neighbours: 500
// is no slip for 502.
func nearest(word string, candidates []string) (string, bool) {
	if word == "" || word[0] >= '0' && word[0] <= '9' {
		return "", false
	}
	word = strings.ToLower(word)
	best, distance := "", max(1, len(word)/3)+1
	for _, candidate := range candidates {
		if d := slips(word, strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	for _, candidate := range candidates {
		lower := strings.ToLower(candidate)
		if best == "" && min(len(word), len(lower)) >= 3 && (strings.HasPrefix(word, lower) || strings.HasPrefix(lower, word)) {
			best = candidate
		}
	}
	return best, best != ""
}

// slips counts insertions, deletions, replacements and swaps of neighbours
// between a and b (optimal string alignment).
func slips(a, b string) int {
	// Three rows of the usual table: the one being filled and the two above.
	above2, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
		above2, above, row = above, row, above2
	}
	return above[len(b)]
}

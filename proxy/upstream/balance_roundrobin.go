package upstream

// maxCycle bounds the length of a round-robin cycle. Weights whose sum, after
// division by their common divisor, is larger are scaled down to it.
const maxCycle = 8192

// roundRobin gives one cycle of nginx's smooth weighted round robin over
// weights: which index serves each of the next sum(weights) requests (divided
// by the common divisor). Weight 0 takes no part. The cycle is empty when all
// weights are 0.
//
// nginx (ngx_http_upstream_get_peer) runs the same sum per request under a
// lock. Its sequence depends on the weights alone and repeats after their sum,
// so it is laid out once here and a request only takes the next place.
func roundRobin(weights []int) []uint16 {
	share := scaled(weights)
	total := 0
	for _, w := range share {
		total += w
	}
	cycle := make([]uint16, 0, total)
	current := make([]int, len(share))
	for range total {
		best := -1
		for i, w := range share {
			if w == 0 {
				continue
			}
			current[i] += w
			if best < 0 || current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		cycle = append(cycle, uint16(best))
	}
	return cycle
}

// scaled divides weights by their common divisor, and below maxCycle in sum
// when that is not enough; a weight above 0 stays above 0.
func scaled(weights []int) []int {
	div, total := 0, 0
	for _, w := range weights {
		div = gcd(div, w)
		total += w
	}
	share := make([]int, len(weights))
	if div == 0 {
		return share
	}
	total /= div
	for i, w := range weights {
		share[i] = w / div
		if total > maxCycle && w > 0 {
			share[i] = max(1, int(int64(share[i])*maxCycle/int64(total)))
		}
	}
	return share
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

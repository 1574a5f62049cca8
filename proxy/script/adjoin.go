package script

import "perigee/proxy/exchange"

// adjoins tells whether the access script can run in the same entry into Lua as
// the rewrite script: nothing stands between the two, and nothing that the first
// leaves is looked at before the second begins. What it may do without ending that
// is luavm's to judge (Slot.StartWith).
//
// Left out are exchanges whose phases are timed one by one (spans), that watch the
// client during each of them, and whose computed variables may have come to be.
func (f *Filter) adjoins(ex *exchange.Exchange, stage exchange.Stage) bool {
	return stage == exchange.Rewrite && ex.Place.Adjoins && !ex.Place.Moved &&
		ex.Spans() == nil && len(ex.Maps) == 0 && !f.mindsClient()
}

package admin

import "net/http"

func (d *doors) limits(w http.ResponseWriter, _ *http.Request) { d.json(w, d.gateway.Limits()) }

// resetLimit lets one key start afresh: limit and id as /limits shows them. It
// answers 404 when nothing was counted for it.
func (d *doors) resetLimit(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name, id := q.Get("limit"), q.Get("id")
	switch {
	case name == "" || id == "":
		d.text(w, http.StatusBadRequest, "name the limit and the id of a key: /limits/reset?limit=NAME&id=ID\n")
	case d.gateway.ResetLimit(name, id):
		d.text(w, http.StatusOK, "reset\n")
	default:
		d.text(w, http.StatusNotFound, "nothing is counted for this key\n")
	}
}

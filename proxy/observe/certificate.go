package observe

import "time"

// Certificate is one that a listener shows.
type Certificate struct {
	Listener string // its configured address
	Name     string // the first name that it is for
	NotAfter time.Time
}

// SetCertificates replaces what is known of the listeners' certificates.
func (m *Metrics) SetCertificates(all []Certificate) { m.certificates.Store(&all) }

func (m *Metrics) writeCertificates(e *exposition) {
	e.family("perigee_certificate_expiry_timestamp_seconds", "gauge", "When a listener's certificate ends, in seconds since 1970.")
	all := m.certificates.Load()
	if all == nil {
		return
	}
	for _, c := range *all {
		e.labels("listener", c.Listener, "name", c.Name)
		e.integer(c.NotAfter.Unix())
	}
}

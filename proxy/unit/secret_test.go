package unit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSecretMasksItselfHoweverItIsPrinted(t *testing.T) {
	secret := NewSecret("hunter2")
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "secret", secret, "inside", struct{ S Secret }{secret})
	asJSON, err := json.Marshal(map[string]any{"s": secret, "p": &secret, "k": map[string]Secret{"a": secret}})
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(struct{ S, T Secret }{secret, Secret{}})
	if err != nil {
		t.Fatal(err)
	}
	inside := struct{ S Secret }{secret}
	for name, text := range map[string]string{
		"slog": logged.String(), "json": string(asJSON), "yaml": string(asYAML), "String": secret.String(),
		"%v": fmt.Sprintf("%v", secret), "%+v": fmt.Sprintf("%+v", inside), "%#v": fmt.Sprintf("%#v", inside),
		"%s": fmt.Sprintf("%s", secret), "%q": fmt.Sprintf("%q", secret), "%x": fmt.Sprintf("%x", secret),
		"%d": fmt.Sprintf("%d", inside), "pointer": fmt.Sprintf("%v", &secret), "error": fmt.Errorf("bad %v", secret).Error(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e746572") {
			t.Errorf("%s shows it: %s", name, text)
		}
		if !strings.Contains(text, Mask) {
			t.Errorf("%s has no mask: %s", name, text)
		}
	}
	if !strings.Contains(string(asYAML), `t: ""`) {
		t.Errorf("an empty secret should show that it is empty: %s", asYAML)
	}
	if secret.Reveal() != "hunter2" || secret.IsZero() || !(Secret{}).IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
}

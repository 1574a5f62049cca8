package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// kinds are what overlays may use: each gets a schema.
var kinds = map[string]bool{
	"Namespace": true, "ServiceAccount": true, "Service": true, "ConfigMap": true, "Deployment": true,
	"PodDisruptionBudget": true, "NetworkPolicy": true, "HorizontalPodAutoscaler": true, "Ingress": true, "PriorityClass": true,
}

// writeSchemas makes strict JSON Schemas, in which a field that is not named is an
// error, of Kubernetes' swagger.json and of the Prometheus operator's CRDs.
func writeSchemas(swagger, crds, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var api struct {
		Definitions map[string]object `json:"definitions"`
	}
	if err := json.Unmarshal(text, &api); err != nil {
		return fmt.Errorf("%s: %w", swagger, err)
	}
	for _, d := range api.Definitions {
		for _, gvk := range d.list("x-kubernetes-group-version-kind") {
			if !kinds[gvk.text("kind")] || d.object("properties", "spec") == nil && gvk.text("kind") != "PriorityClass" && d.object("properties", "metadata") == nil {
				continue
			}
			if err := writeSchema(out, gvk, inline(d, api.Definitions).(map[string]any)); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		if err := crdSchema(filepath.Join(crds, "monitoring.coreos.com_"+name+".yaml"), out); err != nil {
			return err
		}
	}
	return nil
}

// writeSchema names a schema as kubeconform looks for it: kind-group-version.
func writeSchema(out string, gvk object, schema map[string]any) error {
	name := gvk.text("kind")
	if group, _, _ := strings.Cut(gvk.text("group"), "."); group != "" {
		name += "-" + group
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, strings.ToLower(name+"-"+gvk.text("version"))+".json"), text, 0o644)
}

// inline replaces references by what they refer to and closes every object.
func inline(v any, definitions map[string]object) any {
	switch v := v.(type) {
	case object:
		return inline(map[string]any(v), definitions)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = inline(v[i], definitions)
		}
		return out
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, "#/definitions/")
			switch name {
			case "io.k8s.apimachinery.pkg.api.resource.Quantity":
				return map[string]any{"type": []any{"string", "number"}, "pattern": `^[+-]?[0-9.]+([KMGTPE]i?|[numk]|[eE][+-]?[0-9]+)?$`}
			case "io.k8s.apimachinery.pkg.util.intstr.IntOrString":
				return map[string]any{"type": []any{"string", "integer"}}
			case "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":
				return map[string]any{"type": "object"}
			}
			return inline(map[string]any(definitions[name]), definitions)
		}
		out := map[string]any{}
		for key, value := range v {
			if key == "description" {
				if _, isText := value.(string); isText {
					continue
				}
			}
			out[key] = inline(value, definitions)
		}
		return closed(out)
	}
	return v
}

// closed forbids what is not named.
func closed(schema map[string]any) map[string]any {
	if _, has := schema["properties"].(map[string]any); has && schema["additionalProperties"] == nil && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	if schema["x-kubernetes-int-or-string"] == true {
		delete(schema, "anyOf")
		schema["type"] = []any{"string", "integer"}
	}
	return schema
}

func crdSchema(path, out string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	document := map[string]any{}
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	crd := object(document)
	for _, v := range crd.list("spec", "versions") {
		schema := inline(v.at("schema", "openAPIV3Schema"), nil).(map[string]any)
		schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
		gvk := object{"kind": crd.text("spec", "names", "kind"), "group": crd.text("spec", "group"), "version": v.text("name")}
		if err := writeSchema(out, gvk, schema); err != nil {
			return err
		}
	}
	return nil
}

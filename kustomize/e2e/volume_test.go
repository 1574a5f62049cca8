package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// prepare writes the pod's volumes and what its container is, and answers the
// file of the latter.
func (p *pod) prepare() (string, error) {
	name, _, _ := strings.Cut(p.spec().Image, ":")
	program, ok := p.agent.images[name]
	if !ok {
		return "", fmt.Errorf("image %q is none of %v", name, p.agent.images)
	}
	c := container{Root: filepath.Join(p.dir, "root"), UID: 65532, GID: 65532}
	if s := p.object.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		c.UID, c.GID = int(*s.RunAsUser), int(*s.RunAsUser)
	}
	if err := os.MkdirAll(c.Root, 0o755); err != nil {
		return "", err
	}
	hosts, err := p.agent.hosts(p.object.Namespace)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "hosts"), []byte(hosts), 0o644); err != nil {
		return "", err
	}
	inside := "/" + filepath.Base(program)
	c.Mounts = []mount{{Source: program, Target: inside}, {Source: filepath.Join(p.dir, "hosts"), Target: "/etc/hosts"}}
	volumes := map[string]string{}
	for _, v := range p.object.Spec.Volumes {
		if volumes[v.Name], err = p.volume(v, c.UID); err != nil {
			return "", fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	for _, m := range p.spec().VolumeMounts {
		c.Mounts = append(c.Mounts, mount{Source: volumes[m.Name], Target: m.MountPath, Writable: !m.ReadOnly})
	}
	c.Env = append([]string{"PATH=/usr/bin:/bin", "HOSTNAME=" + p.name()}, p.environment()...)
	// An image whose entry point is the program; Redis names its own.
	c.Args = append([]string{inside}, p.spec().Args...)
	if len(p.spec().Args) > 0 && p.spec().Args[0] == filepath.Base(program) {
		c.Args = c.Args[1:]
		c.Args[0] = inside
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.dir, "container.json")
	return file, os.WriteFile(file, text, 0o644)
}

func (p *pod) environment() (env []string) {
	for _, e := range p.spec().Env {
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			value = map[string]string{
				"metadata.name": p.name(), "metadata.namespace": p.object.Namespace,
				"status.podIP": p.address, "spec.nodeName": p.object.Spec.NodeName,
			}[e.ValueFrom.FieldRef.FieldPath]
		}
		env = append(env, e.Name+"="+value)
	}
	return env
}

// volume makes a folder with what the volume holds. Files of ConfigMaps lie
// behind a link to a folder of that moment, as the kubelet has them.
func (p *pod) volume(v corev1.Volume, uid int) (string, error) {
	dir := filepath.Join(p.dir, "volume-"+v.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var sources []corev1.VolumeProjection
	switch {
	case v.EmptyDir != nil:
		return dir, os.Chown(dir, uid, uid)
	case v.Projected != nil:
		sources = v.Projected.Sources
	case v.ConfigMap != nil:
		sources = []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: v.ConfigMap.LocalObjectReference, Items: v.ConfigMap.Items}}}
	}
	files := map[string]string{}
	for _, s := range sources {
		if s.ConfigMap == nil {
			return "", fmt.Errorf("the agent knows ConfigMaps and emptyDirs, not %+v", s)
		}
		m, err := p.agent.client.CoreV1().ConfigMaps(p.object.Namespace).Get(p.agent.ctx, s.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if len(s.ConfigMap.Items) == 0 {
			for key, text := range m.Data {
				files[key] = text
			}
		}
		for _, item := range s.ConfigMap.Items {
			files[item.Path] = m.Data[item.Key]
		}
	}
	return dir, project(dir, files)
}

func project(dir string, files map[string]string) error {
	const moment = "..2026_11_27"
	for path, text := range files {
		file := filepath.Join(dir, moment, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		first, _, _ := strings.Cut(path, "/")
		if err := os.Symlink("..data/"+first, filepath.Join(dir, first)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return os.Symlink(moment, filepath.Join(dir, "..data"))
}

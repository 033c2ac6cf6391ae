// Loads a compose file as Docker Compose does, checks what this project asks of it, and writes what each service is run with to DIR:
// SERVICE.env (its variables), SERVICE.command and SERVICE.health (words for a shell).
//
//	go run . ../../deploy/compose.yaml DIR
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// Services of an image without a shell, which can have no healthcheck.
var unchecked = []string{"simulator", "worker"}

// A tag of a whole version, such as 4.3.1 or v3.15.0 or 0.8.5-pg18.
var pinned = regexp.MustCompile(`:v?\d+\.\d+\.\d+[^:/]*$`)

func main() {
	if len(os.Args) != 3 {
		fatal("usage: compose FILE DIR")
	}
	project, err := load(os.Args[1])
	if err != nil {
		fatal(err.Error())
	}
	wrong := builds(project)
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		for _, fault := range faults(project, service) {
			wrong = append(wrong, name+": "+fault)
		}
		write(name+".env", variables(service))
		write(name+".command", quoted(service.Command))
		if service.HealthCheck != nil {
			write(name+".health", quoted(service.HealthCheck.Test[1:]))
		}
	}
	if len(wrong) > 0 {
		fatal(strings.Join(wrong, "\ncompose: "))
	}
	fmt.Printf("%d services, %d volumes\n", len(project.Services), len(project.Volumes))
}

// load reads only the file: what this machine's environment holds must not make it pass.
func load(file string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

// builds tells of images that two services would build: Compose builds at the same time, and one of the two fails on a clean machine.
func builds(project *types.Project) []string {
	var found []string
	builder := map[string]string{}
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		if service.Build == nil {
			continue
		}
		if first, twice := builder[service.Image]; twice {
			found = append(found, fmt.Sprintf("%s: %s builds %s, too", name, first, service.Image))
		}
		builder[service.Image] = name
	}
	return found
}

// built tells whether another service builds this one's image. Then nobody may look for it in a registry.
func built(project *types.Project, service types.ServiceConfig) bool {
	for _, other := range project.Services {
		if other.Build != nil && other.Image == service.Image {
			return service.PullPolicy == types.PullPolicyNever
		}
	}
	return false
}

func faults(project *types.Project, service types.ServiceConfig) []string {
	var found []string
	fault := func(format string, values ...any) { found = append(found, fmt.Sprintf(format, values...)) }

	if service.Build == nil && !pinned.MatchString(service.Image) && !built(project, service) {
		fault("image %s has no version, and no service builds it for this one's pull_policy: never", service.Image)
	}
	if build := service.Build; build != nil {
		file := build.Dockerfile
		if !filepath.IsAbs(file) {
			file = filepath.Join(build.Context, file)
		}
		if _, err := os.Stat(file); err != nil {
			fault("no Dockerfile: %v", err)
		}
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			fault("port %s is open on %q, not on 127.0.0.1", port.Published, port.HostIP)
		}
	}
	for _, volume := range service.Volumes {
		if volume.Type != types.VolumeTypeBind {
			continue
		}
		if _, err := os.Stat(volume.Source); err != nil {
			fault("nothing to mount: %v", err)
		}
		if !volume.ReadOnly {
			fault("%s is mounted writable", volume.Source)
		}
	}
	if service.Privileged || service.NetworkMode == "host" {
		fault("it reaches beyond its container")
	}
	ends := service.Restart == "no"
	if service.Restart == "" {
		fault("no restart policy")
	}
	if test := service.HealthCheck; test != nil && (len(test.Test) < 2 || test.Test[0] != "CMD") {
		fault("its healthcheck is not of the form [CMD, …]")
	}
	if service.HealthCheck == nil && !ends && !slices.Contains(unchecked, service.Name) {
		fault("no healthcheck")
	}
	for name, dependency := range service.DependsOn {
		needed := project.Services[name]
		switch {
		case needed.Restart == "no":
			if dependency.Condition != types.ServiceConditionCompletedSuccessfully {
				fault("does not wait for %s to end", name)
			}
		case needed.HealthCheck != nil:
			if dependency.Condition != types.ServiceConditionHealthy {
				fault("does not wait for %s to be healthy", name)
			}
		}
	}
	return found
}

func variables(service types.ServiceConfig) string {
	var words []string
	for name, value := range service.Environment {
		if value == nil {
			fatal(fmt.Sprintf("%s: %s has no value", service.Name, name))
		}
		words = append(words, name+"="+*value)
	}
	slices.Sort(words)
	return quoted(words)
}

// quoted is a line for a shell, which divides it into these words again.
func quoted(words []string) string {
	line := ""
	for _, word := range words {
		line += "'" + strings.ReplaceAll(word, "'", `'\''`) + "' "
	}
	return line + "\n"
}

func write(name, content string) {
	if err := os.WriteFile(filepath.Join(os.Args[2], name), []byte(content), 0o600); err != nil {
		fatal(err.Error())
	}
}

func fatal(message string) {
	fmt.Fprintln(os.Stderr, "compose: "+message)
	os.Exit(1)
}

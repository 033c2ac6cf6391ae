package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

type world struct {
	helm, chart, worker, broker, dir string
	client                           sarama.Client
	admin                            sarama.ClusterAdmin
}

type values = map[string]any

// release is what the chart renders for one topic: the worker's settings and its ScaledObject.
type release struct {
	*world
	topic, group, settings string
	partitions             int
	scaled                 kedav1alpha1.ScaledObject
}

func client() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	return config
}

// topics creates a topic and the one of its outputs.
func (w *world) topics(name string, partitions int32) {
	must(w.admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	must(w.admin.CreateTopic(name+".out", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
}

// render asks Helm for the release of a topic: its own settings (kafka, limits, …) and values of keda over what all have here.
func (w *world) render(topic string, partitions int, provider string, kafka, config, keda values) *release {
	settings := values{
		"kafka": with(values{
			"brokers": w.broker, "input_topics": []string{topic}, "output_topic": topic + ".out", "dead_letter_topic": "dead-letters", "group_id": topic,
		}, kafka),
		"provider": values{"profile": "custom", "url": provider, "model": "qwen/qwen3-embedding-4b", "dimensions": 8},
	}
	given := get(json.Marshal(values{"config": with(settings, config), "keda": with(values{"enabled": true}, keda)}))
	command := exec.Command(w.helm, "template", "r", w.chart, "-f", "-")
	command.Stdin, command.Stderr = bytes.NewReader(given), os.Stderr
	r := &release{world: w, topic: topic, partitions: partitions}
	for _, document := range strings.Split(string(get(command.Output())), "\n---\n") {
		var kind metav1.TypeMeta
		must(yaml.Unmarshal([]byte(document), &kind))
		switch kind.Kind {
		case "ScaledObject":
			must(yaml.UnmarshalStrict([]byte(document), &r.scaled))
		case "ConfigMap":
			var found corev1.ConfigMap
			must(yaml.UnmarshalStrict([]byte(document), &found))
			r.settings = found.Data["config.yaml"]
		}
	}
	if len(r.scaled.Spec.Triggers) != 1 || r.settings == "" {
		fail("%s: the chart renders %d triggers and settings of %d bytes", topic, len(r.scaled.Spec.Triggers), len(r.settings))
	}
	// What KEDA looks at, and not what was written above.
	r.group = r.scaled.Spec.Triggers[0].Metadata["consumerGroup"]
	return r
}

func with(base, over values) values {
	for name, value := range over {
		base[name] = value
	}
	return base
}

// ---- processes ---------------------------------------------------------------------------------------------

type process struct {
	*exec.Cmd
	log string
}

var processes []*process

// start runs the worker's binary; it dies with this program.
func (w *world) start(environment []string, arguments ...string) *process {
	log := get(os.CreateTemp(w.dir, arguments[0]+"-*.log"))
	p := &process{exec.Command(w.worker, arguments...), log.Name()}
	p.Env, p.Stdout, p.Stderr = environment, log, log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(p.Start())
	processes = append(processes, p)
	return p
}

// simulator starts a provider and gives its address.
func (w *world) simulator(latency string) string {
	p := w.start(nil, "simulate", "--listen", "127.0.0.1:0", "--dimensions", "8", "--latency", latency)
	var url string
	eventually("the simulator has no address", func() bool {
		line := string(get(os.ReadFile(p.log)))
		_, rest, found := strings.Cut(line, "simulated provider: ")
		url, _, _ = strings.Cut(rest, " ")
		return found && url != ""
	})
	return url
}

// run starts a worker with the settings that the chart renders (only where it listens is ours), and waits until it is in its group.
func (r *release) run() *process {
	file := filepath.Join(r.dir, r.topic+".yaml")
	must(os.WriteFile(file, []byte(r.settings), 0o600))
	free := get(net.Listen("tcp", "127.0.0.1:0"))
	address := free.Addr().String()
	must(free.Close())
	p := r.start([]string{"EMBEDSTREAM__ADMIN__LISTEN=" + address}, "run", "--config", file)
	eventually("a worker is not ready", func() bool {
		answer, err := http.Get("http://" + address + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	return p
}

// end is what Kubernetes does when it scales in.
func (p *process) end() {
	must(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		fail("a worker ends with %v on SIGTERM", err)
	}
}

func (p *process) kill() {
	must(p.Process.Kill())
	_ = p.Wait()
}

// ---- records and offsets -----------------------------------------------------------------------------------

// produce writes count records to each of the partitions; within a transaction that is ended so, if an end is given.
func (w *world) produce(topic string, count int, end string, partitions ...int32) {
	config := client()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	if end != "" {
		config.Producer.Idempotent, config.Net.MaxOpenRequests, config.Producer.Transaction.ID = true, 1, topic
	}
	producer := get(sarama.NewSyncProducer([]string{w.broker}, config))
	defer func() { must(producer.Close()) }()
	var messages []*sarama.ProducerMessage
	for n := range count {
		for _, partition := range partitions {
			text := fmt.Sprintf("record %d of partition %d", n, partition)
			messages = append(messages, &sarama.ProducerMessage{
				Topic: topic, Partition: partition, Key: sarama.StringEncoder(text), Value: sarama.StringEncoder(text),
			})
		}
	}
	if end != "" {
		must(producer.BeginTxn())
	}
	must(producer.SendMessages(messages))
	switch end {
	case "commit":
		must(producer.CommitTxn())
	case "abort":
		must(producer.AbortTxn())
	}
}

// offsets of each partition: sarama.OffsetOldest or OffsetNewest.
func (w *world) offsets(topic string, which int64) []int64 {
	var found []int64
	for partition := range get(w.client.Partitions(topic)) {
		found = append(found, get(w.client.GetOffset(topic, int32(partition), which)))
	}
	return found
}

// committed offsets of the group; -1: none.
func (r *release) committed() []int64 {
	found := make([]int64, r.partitions)
	var all []int32
	for partition := range found {
		all = append(all, int32(partition))
	}
	answer := get(r.admin.ListConsumerGroupOffsets(r.group, map[string][]int32{r.topic: all}))
	for partition := range found {
		found[partition] = answer.GetBlock(r.topic, int32(partition)).Offset
	}
	return found
}

// outputs gives the input offsets of which the output topic holds a record, by input partition, in the order of the output.
func (r *release) outputs() [][]int64 {
	found := make([][]int64, r.partitions)
	consumer := get(sarama.NewConsumerFromClient(r.client))
	end := r.offsets(r.topic+".out", sarama.OffsetNewest)[0]
	reader := get(consumer.ConsumePartition(r.topic+".out", 0, sarama.OffsetOldest))
	for next := int64(0); next < end; {
		message := <-reader.Messages()
		var output struct {
			Source struct {
				Partition int
				Offset    int64
			}
		}
		must(json.Unmarshal(message.Value, &output))
		found[output.Source.Partition] = append(found[output.Source.Partition], output.Source.Offset)
		next = message.Offset + 1
	}
	must(reader.Close())
	return found
}

// ---- failing -----------------------------------------------------------------------------------------------

func eventually(what string, is func() bool) {
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			fail("after two minutes: %s", what)
		}
	}
}

func get[T any](value T, err error) T {
	must(err)
	return value
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// fail ends it, with what the last worker said.
func fail(format string, what ...any) {
	fmt.Fprintf(os.Stderr, "tests/keda: "+format+"\n", what...)
	if len(processes) > 0 {
		last := processes[len(processes)-1]
		var lines []string
		if file, err := os.Open(last.log); err == nil {
			for scanner := bufio.NewScanner(file); scanner.Scan(); {
				lines = append(lines, scanner.Text())
			}
		}
		fmt.Fprintf(os.Stderr, "the end of what it started last says:\n%s\n", strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
	os.Exit(1)
}

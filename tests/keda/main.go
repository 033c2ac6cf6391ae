// What KEDA makes of the worker's committed offsets: its own Kafka scaler, given the trigger that the chart renders, asks a real broker
// on which the real worker runs, with the settings that the same chart renders.
//
//	keda HELM CHART WORKER BROKER DIR
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"embedstream/tests/keda/scalers"
	"github.com/IBM/sarama"
	"github.com/go-logr/logr"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Both of KEDA's scalers for Kafka, by their trigger types. The chart takes one; the other one must not see it differently.
var types = map[string]func(context.Context, *scalersconfig.ScalerConfig) (scalers.Scaler, error){
	"kafka": scalers.NewKafkaScaler, "apache-kafka": scalers.NewApacheKafkaScaler,
}

// seen is what KEDA makes of a release at one moment.
type seen struct {
	value    int64
	active   bool
	replicas int64
}

func (s seen) String() string {
	activity := "not active"
	if s.active {
		activity = "active"
	}
	return fmt.Sprintf("value %d, %s, replicas %d", s.value, activity, s.replicas)
}

func (r *release) asks(kind string) seen {
	trigger, ctx := r.scaled.Spec.Triggers[0], context.Background()
	scaler := get(types[kind](ctx, &scalersconfig.ScalerConfig{
		ScalableObjectName: r.scaled.Name, TriggerType: kind, TriggerMetadata: trigger.Metadata, MetricType: trigger.MetricType,
	}))
	defer func() { must(scaler.Close(ctx)) }()
	external := scaler.GetMetricSpecForScaling(ctx)[0].External
	metrics, active, err := scaler.GetMetricsAndActivity(ctx, external.Metric.Name)
	// A broker that has just started; KEDA, too, asks again at its next poll.
	for tries := 0; err != nil && strings.Contains(err.Error(), "still loading offsets") && tries < 60; tries++ {
		time.Sleep(time.Second)
		metrics, active, err = scaler.GetMetricsAndActivity(ctx, external.Metric.Name)
	}
	must(err)
	value, target := metrics[0].Value.MilliValue(), external.Target.AverageValue.MilliValue()
	// The HorizontalPodAutoscaler's formula for an average; KEDA itself takes the last replica away where minReplicaCount is 0.
	replicas := min(max((value+target-1)/target, int64(*r.scaled.GetHPAMinReplicas())), int64(r.scaled.GetHPAMaxReplicas()))
	if !active && *r.scaled.Spec.MinReplicaCount == 0 {
		replicas = 0
	}
	return seen{value / 1000, active, replicas}
}

// expect asks KEDA and compares.
func (r *release) expect(what string, wanted seen) {
	if got := r.asks(r.scaled.Spec.Triggers[0].Type); got != wanted {
		fail("%s, %s: %v; expected was %v (committed %v, ends %v)", r.topic, what, got, wanted, r.committed(), r.offsets(r.topic, sarama.OffsetNewest))
	}
	for other := range types {
		if got := r.asks(other); got != wanted {
			fail("%s, %s: %v, but trigger type %s says %v", r.topic, what, wanted, other, got)
		}
	}
	fmt.Printf("ok  %s, %s: %v\n", r.topic, what, wanted)
}

func main() {
	// What it starts dies with the thread that started it.
	runtime.LockOSThread()
	w := &world{helm: os.Args[1], chart: os.Args[2], worker: os.Args[3], broker: os.Args[4], dir: os.Args[5]}
	ctrl.SetLogger(logr.Discard())
	w.client = get(sarama.NewClient([]string{w.broker}, client()))
	w.admin = get(sarama.NewClusterAdminFromClient(w.client))
	must(w.admin.CreateTopic("dead-letters", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	fast, slow, silent := w.simulator("20ms"), w.simulator("500ms"), w.simulator("1h")
	w.idle(fast)
	w.history(fast, silent)
	w.onePartition(fast)
	w.transactions(fast)
	w.scaleIn(slow)
}

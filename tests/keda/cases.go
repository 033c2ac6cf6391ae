package main

import (
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

func same(partitions int, offset int64) []int64 { return slices.Repeat([]int64{offset}, partitions) }

func sum(of []int64) (total int64) {
	for _, one := range of {
		total += one
	}
	return total
}

// idle: nothing was ever written.
func (w *world) idle(provider string) {
	w.topics(map[string]int32{"idle": 6, "idle.out": 1})
	r := w.render("idle", 6, provider, nil, nil, nil)
	fmt.Printf("the chart's trigger: %s %v\n", r.scaled.Spec.Triggers[0].Type, r.scaled.Spec.Triggers[0].Metadata)
	r.expect("idle topic, before the first start", 0, false, 1)
	worker := r.run()
	r.reaches("idle topic", same(6, 0))
	r.expect("idle topic, the group has run", 0, false, 1)
	worker.end()
	r.expect("idle topic, the group is empty again", 0, false, 1)
	w.render("idle", 6, provider, nil, nil, values{"minReplicas": 0}).expect("idle topic, minReplicas: 0", 0, false, 0)
}

// history: 20,000 records were written, 30 are left: ten in each partition but the first, which is empty.
func (w *world) history(provider, silent string) {
	w.topics(map[string]int32{"history": 4, "history.out": 1})
	w.produce("history", 5000, "", 0, 1, 2, 3)
	must(w.admin.DeleteRecords("history", map[int32]int64{0: 5000, 1: 4990, 2: 4990, 3: 4990}))

	latest := w.render("history", 4, silent, values{"group_id": "late", "start": "latest"}, nil, nil)
	latest.expect("history, start: latest, before the first commit", 4, true, 1)
	worker := latest.run()
	latest.reaches("history, start: latest", same(4, 5000))
	latest.expect("history, start: latest, the worker has joined", 0, false, 1)
	worker.kill()

	r := w.render("history", 4, silent, nil, nil, nil)
	r.expect("history, before the first commit", 8000, true, 4)
	worker = r.run()
	r.reaches("history", []int64{5000, 4990, 4990, 4990})
	r.expect("history, the worker has joined", 30, true, 1)
	worker.kill()

	r = w.render("history", 4, provider, nil, nil, nil)
	worker = r.run()
	r.reaches("history", same(4, 5000))
	worker.end()
	r.expect("history, drained", 0, false, 1)

	// Behind what retention has left: 300 records come and go while no worker runs.
	w.produce("history", 100, "", 0, 1, 2)
	must(w.admin.DeleteRecords("history", map[int32]int64{0: 5100, 1: 5100, 2: 5100}))
	r.expect("history, records expired while no worker ran", 300, true, 1)
	worker = r.run()
	eventually("x", func() bool { fmt.Println(r.committed()); return true })
	worker.end()
	fmt.Println(r.committed(), r.asks("kafka"))
}

// onePartition: all of the lag is in one of six partitions.
func (w *world) onePartition(provider string) {
	w.topics(map[string]int32{"one": 6, "one.out": 1})
	r := w.render("one", 6, provider, nil, nil, nil)
	worker := r.run()
	r.reaches("one partition", same(6, 0))
	worker.end()
	w.produce("one", 10500, "", 2)
	r.expect("one partition of six has lag", 10500, true, 6)
	limited := w.render("one", 6, provider, nil, nil, values{"triggerMetadata": values{"limitToPartitionsWithLag": true}})
	limited.expect("one partition of six has lag, limited", 2000, true, 1)
	w.produce("one", 2500, "", 2)
	r.expect("one partition of six has lag", 13000, true, 7)
	w.produce("one", 2500, "", 2)
	r.expect("one partition of six has lag", 12000, true, 6)
	worker = r.run()
	r.reaches("one partition", []int64{0, 0, 15500, 0, 0, 0})
	r.expect("one partition, drained", 0, false, 1)
	worker.end()
}

// transactions: what a transactional producer writes ends in markers, which take offsets and are no records.
func (w *world) transactions(provider string) {
	w.topics(map[string]int32{"transactions": 4, "transactions.out": 1})
	r := w.render("transactions", 4, provider, nil, nil, nil)
	w.produce("transactions", 25, "commit", 0, 1, 2, 3)
	worker := r.run()
	eventually("100 outputs", func() bool { return w.offsets("transactions.out", sarama.OffsetNewest)[0] == 100 })
	fmt.Println(r.committed(), r.offsets(r.topic, sarama.OffsetNewest), r.asks("kafka"))
	w.produce("transactions", 500, "abort", 0, 1)
	fmt.Println(r.committed(), r.offsets(r.topic, sarama.OffsetNewest), r.asks("kafka"))
	worker.end()
	fmt.Println(r.committed(), r.offsets(r.topic, sarama.OffsetNewest), r.asks("kafka"))
	worker = r.run()
	worker.end()
	fmt.Println(r.committed(), r.offsets(r.topic, sarama.OffsetNewest), r.asks("kafka"))
}

// scaleIn: of two workers one is ended amid its work, then the other.
func (w *world) scaleIn(provider string) {
	w.topics(map[string]int32{"scale-in": 6, "scale-in.out": 1})
	r := w.render("scale-in", 6, provider, nil, values{"limits": values{"in_flight": 6}, "batch": values{"max_records": 8}}, nil)
	w.produce("scale-in", 400, "", 0, 1, 2, 3, 4, 5)
	first, second := r.run(), r.run()
	published := func() int64 { return w.offsets("scale-in.out", sarama.OffsetNewest)[0] }
	eventually("outputs", func() bool { return published() >= 300 })
	first.end()
	at := published()
	eventually("more outputs", func() bool { return published() >= at+200 })
	second.end()
	outputs, committed := r.outputs(), r.committed()
	for partition, offsets := range outputs {
		slices.Sort(offsets)
		for n, offset := range offsets {
			if offset != int64(n) {
				fail("scale-in: partition %d: output %d is of offset %d", partition, n, offset)
			}
		}
		if committed[partition] != int64(len(offsets)) {
			fail("scale-in: partition %d: %d is committed, %d outputs", partition, committed[partition], len(offsets))
		}
	}
	left := 2400 - published()
	if left <= 0 {
		fail("scale-in: nothing is left: this shows nothing")
	}
	r.expect(fmt.Sprintf("scale-in, %d of 2400 published, %d committed", published(), sum(committed)), left, true, 1)
	third := r.run()
	r.reaches("scale-in", same(6, 400))
	third.end()
	r.expect("scale-in, the next worker did the rest", 0, false, 1)
	if published() != 2400 {
		fail("scale-in: %d outputs of 2400", published())
	}
}

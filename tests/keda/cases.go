package main

import (
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

func each(partitions int, offset int64) []int64 { return slices.Repeat([]int64{offset}, partitions) }

// idle: nothing was ever written.
func (w *world) idle(provider string) {
	w.topics("idle", 6)
	r := w.render("idle", 6, provider, nil, nil, nil)
	fmt.Printf("    the trigger: %s, %v\n", r.scaled.Spec.Triggers[0].Type, r.scaled.Spec.Triggers[0].Metadata)
	r.expect("before the first start", seen{0, false, 1})
	worker := r.run()
	r.commits(each(6, 0))
	r.expect("the worker has joined", seen{0, false, 1})
	worker.end()
	r.expect("the worker has left", seen{0, false, 1})
	w.render("idle", 6, provider, nil, nil, values{"minReplicas": 0}).expect("with minReplicas: 0", seen{0, false, 0})
}

// history: 20,000 records were written, 30 are left: ten in each partition but the first, which is empty.
func (w *world) history(provider, silent string) {
	w.topics("history", 4)
	w.produce("history", 5000, "", 0, 1, 2, 3)
	must(w.admin.DeleteRecords("history", map[int32]int64{0: 5000, 1: 4990, 2: 4990, 3: 4990}))

	late := w.render("history", 4, silent, values{"group_id": "late", "start": "latest"}, nil, nil)
	late.expect("start: latest, before the first commit", seen{0, false, 1})
	worker := late.run()
	late.commits(each(4, 5000))
	late.expect("start: latest, the worker has joined", seen{0, false, 1})
	worker.kill()

	r := w.render("history", 4, silent, nil, nil, nil)
	toZero := w.render("history", 4, silent, nil, nil, values{"minReplicas": 0})
	r.expect("before the first commit", seen{0, false, 1})
	toZero.expect("before the first commit, with minReplicas: 0 (all that was ever written, cut)", seen{8000, true, 4})
	worker = r.run()
	r.commits([]int64{5000, 4990, 4990, 4990})
	r.expect("the worker has joined, the provider says nothing", seen{30, true, 1})
	worker.kill()
	r.expect("that worker was killed", seen{30, true, 1})

	r = w.render("history", 4, provider, nil, nil, nil)
	worker = r.run()
	r.commits(each(4, 5000))
	worker.end()
	r.expect("drained", seen{0, false, 1})

	// Records that come and go while no worker runs, as retention does it.
	w.produce("history", 100, "", 0, 1, 2)
	must(w.admin.DeleteRecords("history", map[int32]int64{0: 5100, 1: 5100, 2: 5100}))
	toZero.expect("300 records expired unread", seen{300, true, 1})
	worker = r.run()
	toZero.commits([]int64{5100, 5100, 5100, 5000})
	toZero.expect("300 records expired unread, the worker is back", seen{0, false, 0})
	worker.end()
}

// onePartition: all of the lag is in one of six partitions. With more replicas that partition would have a smaller share of the limits.
func (w *world) onePartition(provider string) {
	w.topics("one", 6)
	r := w.render("one", 6, provider, nil, nil, nil)
	all := w.render("one", 6, provider, nil, nil, values{"triggerMetadata": values{"limitToPartitionsWithLag": false}})
	worker := r.run()
	r.commits(each(6, 0))
	worker.end()
	w.produce("one", 1500, "", 2)
	r.expect("1,500 in one of six", seen{1500, true, 1})
	// KEDA rounds down before it cuts: below twice the threshold the cut is one too late.
	w.produce("one", 1500, "", 2)
	r.expect("3,000 in one of six", seen{3000, true, 2})
	w.produce("one", 10000, "", 2)
	r.expect("13,000 in one of six", seen{2000, true, 1})
	all.expect("13,000 in one of six, not limited to it", seen{13000, true, 7})
	w.produce("one", 2000, "", 2)
	all.expect("15,000 in one of six, not limited to it", seen{12000, true, 6})
	w.produce("one", 2000, "", 0, 1)
	r.expect("15,000 in one of six, 2,000 in two more", seen{6000, true, 3})
	worker = r.run()
	r.commits([]int64{2000, 2000, 15000, 0, 0, 0})
	r.expect("drained", seen{0, false, 1})
	worker.end()
}

// transactions: they end in markers, which take offsets and are no records; those of an aborted one are not read either.
func (w *world) transactions(provider string) {
	w.topics("transactions", 4)
	r := w.render("transactions", 4, provider, nil, nil, values{"minReplicas": 0})
	worker := r.run()
	w.produce("transactions", 25, "commit", 0, 1, 2, 3)
	eventually("there are not 100 outputs", func() bool { return r.published() == 100 })
	r.commits(each(4, 26))
	r.expect("100 records in a transaction, drained", seen{0, false, 0})
	w.produce("transactions", 500, "abort", 0, 1)
	r.commits([]int64{527, 527, 26, 26})
	r.expect("1,000 more in one that was aborted", seen{0, false, 0})
	w.produce("transactions", 1, "", 0, 1, 2, 3)
	r.commits([]int64{528, 528, 27, 27})
	r.expect("a record without a transaction behind them", seen{0, false, 0})
	worker.end()
}

// scaleIn: of two workers one is ended amid its work, then the other.
func (w *world) scaleIn(slow string) {
	w.topics("scale-in", 6)
	r := w.render("scale-in", 6, slow, nil, values{"limits": values{"in_flight": 6}, "batch": values{"max_records": 8}}, values{"lagThreshold": 500})
	w.produce("scale-in", 400, "", 0, 1, 2, 3, 4, 5)
	first, second := r.run(), r.run()
	for _, worker := range []*process{first, second} {
		before := r.published()
		eventually("there are not 200 more outputs", func() bool { return r.published() >= before+200 })
		worker.end()
	}
	for partition, offsets := range r.outputs() {
		// Each once, without a gap, up to the committed one.
		if slices.Sort(offsets); len(offsets) > 0 && (offsets[0] != 0 || offsets[len(offsets)-1] != int64(len(offsets)-1)) {
			fail("scale-in, partition %d: outputs of %v", partition, offsets)
		}
		if committed := r.committed()[partition]; committed != int64(len(offsets)) {
			fail("scale-in, partition %d: %d is committed with %d outputs", partition, committed, len(offsets))
		}
	}
	left := 2400 - r.published()
	if left < 500 {
		fail("scale-in: %d are left, which shows little", left)
	}
	r.expect(fmt.Sprintf("two workers ended by SIGTERM after %d of 2,400", 2400-left), seen{left, true, (left + 499) / 500})
	worker := r.run()
	r.commits(each(6, 400))
	worker.end()
	r.expect("the next worker did the rest", seen{0, false, 1})
	if r.published() != 2400 {
		fail("scale-in: %d outputs of 2,400 records", r.published())
	}
}

// published counts the outputs.
func (r *release) published() int64 { return r.offsets(r.topic+".out", sarama.OffsetNewest)[0] }

// commits waits for committed offsets.
func (r *release) commits(wanted []int64) {
	eventually(fmt.Sprintf("%s: %v is not committed", r.topic, wanted), func() bool { return slices.Equal(r.committed(), wanted) })
}

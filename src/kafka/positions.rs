//! Where new partitions stand: asked of the broker, once an assignment.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tracing::warn;

use super::event::Assigned;
use super::shared::{Client, Shared, lock, now};
use crate::config::Start;
use crate::domain::record::Position;

/// How long a question may take, each.
const ASK: Duration = Duration::from_secs(10);
/// After how long a question without an answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often what has to be known is asked before the worker gives up.
const TRIES: u32 = 3;

/// Where a partition begins.
#[derive(Clone, Copy)]
enum Stand {
    /// What the group has committed.
    Committed(Position),
    /// Its first record, or its end.
    Initial(Position),
    /// Nothing is committed, and its leader does not answer.
    Unknown,
}

/// Asks, beside the poll thread, until each partition that is still held has an answer, and notes the answers. A partition without a
/// committed position gets its first one committed, so that its lag is true from the start.
pub(super) fn find_beside(client: Arc<Client>, shared: Arc<Shared>, opened: Vec<Assigned>) {
    let keeper = Arc::clone(&shared);
    let asking = std::thread::spawn(move || {
        let mut open = opened;
        loop {
            open.retain(|lane| is_held(&shared, lane));
            if open.is_empty() || shared.leaving.get().is_some() {
                break;
            }
            match ask(&client, &open, Start::Earliest, &|| ()) {
                Ok(stands) => {
                    note(&shared, &open, &stands);
                    shared.budget.unpark();
                    let mut unknown = stands.iter().map(|stand| matches!(stand, Stand::Unknown));
                    open.retain(|_| unknown.next().unwrap_or(false));
                }
                Err(failure) => warn!(error = %failure, "cannot ask for positions, asking again"),
            }
            if !open.is_empty() {
                std::thread::park_timeout(AGAIN);
            }
        }
        drop(client);
    });
    keeper.keep(asking);
}

/// Asks, on the poll thread, where the partitions without a committed position end, and makes that their start in `list`. librdkafka's own
/// reset cannot be used: it would also skip what is left where a committed position no longer exists.
///
/// # Errors
/// Nobody answered: to begin anywhere would be a guess.
pub(super) fn begin_at_the_end(
    client: &Client,
    shared: &Shared,
    opened: &[Assigned],
    list: &mut TopicPartitionList,
) -> Result<(), KafkaError> {
    let mut tries = 0;
    let stands = loop {
        tries += 1;
        match ask(client, opened, Start::Latest, &*shared.beat) {
            Ok(stands) => break stands,
            Err(failure) if tries == TRIES => return Err(failure),
            Err(failure) => warn!(error = %failure, "cannot ask for positions, asking again"),
        }
    };
    for (Assigned { partition, .. }, stand) in opened.iter().zip(&stands) {
        let start = match stand {
            Stand::Committed(_) => continue,
            Stand::Initial(end) => KafkaOffset::Offset(end.next()),
            // The client asks the leader when there is one.
            Stand::Unknown => KafkaOffset::End,
        };
        list.set_partition_offset(&partition.topic, partition.partition, start)?;
    }
    note(shared, opened, &stands);
    Ok(())
}

fn is_held(shared: &Shared, Assigned { generation, partition }: &Assigned) -> bool {
    lock(&shared.lanes).held.get(partition).is_some_and(|lane| lane.generation == *generation)
}

fn note(shared: &Shared, opened: &[Assigned], stands: &[Stand]) {
    for (Assigned { generation, .. }, stand) in opened.iter().zip(stands) {
        match stand {
            Stand::Committed(position) => lock(&shared.commits).note(*generation, *position),
            Stand::Initial(position) => {
                let mut lanes = lock(&shared.lanes);
                if let Some(lane) = lanes.held.values_mut().find(|lane| lane.generation == *generation) {
                    lane.marks.begins(*position);
                }
            }
            Stand::Unknown => {}
        }
    }
}

/// The answers, in the order of what was asked.
fn ask(
    client: &Client,
    opened: &[Assigned],
    start: Start,
    alive: &dyn Fn(),
) -> Result<Vec<Stand>, KafkaError> {
    let since = now();
    let mut list = TopicPartitionList::new();
    for Assigned { partition, .. } in opened {
        list.add_partition(&partition.topic, partition.partition);
    }
    alive();
    let committed = client.committed_offsets(list, ASK)?.to_topic_map();
    let mut found = Vec::new();
    for Assigned { partition, .. } in opened {
        let name = (partition.topic.to_string(), partition.partition);
        if let Some(KafkaOffset::Offset(next)) = committed.get(&name) {
            found.push(Stand::Committed(Position::at(*next)));
            continue;
        }
        alive();
        if now().saturating_duration_since(since) > ASK * TRIES {
            found.push(Stand::Unknown);
            continue;
        }
        found.push(match client.fetch_watermarks(&partition.topic, partition.partition, ASK) {
            Ok((first, _)) if start == Start::Earliest => Stand::Initial(Position::at(first)),
            Ok((_, end)) => Stand::Initial(Position::at(end)),
            Err(failure) => {
                warn!(error = %failure, %partition, "cannot ask where a partition begins");
                Stand::Unknown
            }
        });
    }
    Ok(found)
}

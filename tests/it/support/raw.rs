//! What the client library cannot send: a record whose header's name is not UTF-8, on the wire by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes one record to partition 0 of `topic`, by the broker at `leader` (`host:port`); acknowledged when this returns.
pub(super) fn produce(leader: &str, topic: &str, key: &[u8], value: &[u8], header: &[u8]) {
    let batch = batch(&record(key, value, header));
    // Produce (0), version 3, correlation 1, no client id; no transaction, all acknowledgements, 10 s, one topic.
    let mut request =
        [&[0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0x27, 0x10]].concat();
    request.extend(1_i32.to_be_bytes());
    request.extend(i16::try_from(topic.len()).expect("a name is short").to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend([1_i32.to_be_bytes(), 0_i32.to_be_bytes(), length(&batch)].concat());
    request.extend(batch);

    let mut stream = TcpStream::connect(leader).expect("the leader listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&[&length(&request)[..], &request].concat()).expect("the leader reads");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("the leader answers");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("a whole answer");
    // Correlation, one topic and its name, one partition and its number: then the error.
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[error..error + 2], [0, 0], "the broker takes it: {answer:?}");
}

fn record(key: &[u8], value: &[u8], header: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 0];
    for field in [key, value] {
        record.extend(varint(field.len()));
        record.extend(field);
    }
    record.extend(varint(1));
    record.extend(varint(header.len()));
    record.extend(header);
    record.extend(varint(1));
    record.push(b'x');
    record
}

/// A batch of one record, in the format of version 2.
fn batch(record: &[u8]) -> Vec<u8> {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    let now = i64::try_from(since).expect("and before the end of time").to_be_bytes();
    // Attributes, last offset, first and last time; no producer; one record.
    let mut checked = [&[0; 6][..], &now, &now, &[0xff; 14], &1_i32.to_be_bytes()].concat();
    checked.extend(varint(record.len()));
    checked.extend(record);
    // Leader epoch, magic, checksum.
    let rest = [&[0xff; 4][..], &[2], &crc32c(&checked).to_be_bytes(), &checked].concat();
    [&[0; 8][..], &length(&rest), &rest].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    i32::try_from(bytes.len()).expect("it is short").to_be_bytes()
}

/// A length as a zigzag varint.
fn varint(length: usize) -> Vec<u8> {
    let (mut rest, mut bytes) = (length << 1, Vec::new());
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

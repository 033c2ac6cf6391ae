//! Response bodies that do not come in one piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Sleep;

use super::faults::Trickle;

/// So long a cut body waits before it breaks off: what is sent has left the buffers by then.
const BEFORE_THE_CUT: Duration = Duration::from_millis(20);

/// A body in pieces.
pub(super) struct Pieces {
    rest: Bytes,
    piece: usize,
    pause: Duration,
    end: End,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// What comes after the last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The end of the body.
    Whole,
    /// The connection breaks.
    Cut,
    /// Nothing, for ever.
    Silence,
}

impl Pieces {
    /// The first `length` bytes, then the connection closes. The body is announced without a length, so that only the missing end tells.
    pub(super) fn cut(body: Bytes, length: usize) -> Self {
        let rest = body.slice(..length.min(body.len()));
        Self { piece: rest.len().max(1), rest, pause: BEFORE_THE_CUT, end: End::Cut, waiting: None }
    }

    /// The first `length` bytes, then silence.
    pub(super) fn stall(body: Bytes, length: usize) -> Self {
        Self { end: End::Silence, ..Self::cut(body, length) }
    }

    /// The whole body in drops.
    pub(super) fn trickle(body: Bytes, trickle: Trickle) -> Self {
        Self { rest: body, piece: trickle.bytes.max(1), pause: trickle.every, end: End::Whole, waiting: None }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(sleep) = &mut self.waiting {
            ready!(sleep.as_mut().poll(cx));
            self.waiting = None;
            if self.rest.is_empty() {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
        }
        if self.rest.is_empty() {
            match self.end {
                End::Whole => return Poll::Ready(None),
                // Nobody wakes us: the connection's end does, when the client hangs up.
                End::Silence => return Poll::Pending,
                End::Cut => {}
            }
        }
        let length = self.piece.min(self.rest.len());
        let piece = self.rest.split_to(length);
        if self.end == End::Cut || !self.rest.is_empty() {
            self.waiting = Some(Box::pin(tokio::time::sleep(self.pause)));
        }
        if piece.is_empty() {
            // Cut before the first byte: the head only.
            return self.poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// A gzip stream of `body` that ends before its end: stored, not compressed, which every reader takes.
pub(super) fn gzip_cut(body: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for block in body.chunks(0x8000) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(0);
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.truncate(stream.len() * 3 / 4);
    stream
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Body as _;
    use tokio::time::Instant;

    use super::*;

    async fn next(body: &mut Pieces) -> Option<io::Result<Vec<u8>>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap().to_vec()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_body_breaks_off() {
        for (length, expected) in [(3, "abc"), (99, "abcdef")] {
            let mut body = Pieces::cut(Bytes::from_static(b"abcdef"), length);
            assert_eq!(next(&mut body).await.unwrap().unwrap(), expected.as_bytes());
            assert!(next(&mut body).await.unwrap().is_err());
        }
        let mut nothing = Pieces::cut(Bytes::from_static(b"abcdef"), 0);
        assert!(next(&mut nothing).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_never_ends() {
        for (length, expected) in [(3, Some("abc")), (0, None)] {
            let mut body = Pieces::stall(Bytes::from_static(b"abcdef"), length);
            if let Some(expected) = expected {
                assert_eq!(next(&mut body).await.unwrap().unwrap(), expected.as_bytes());
            }
            let more = tokio::time::timeout(Duration::from_secs(3600), next(&mut body)).await;
            assert!(more.is_err(), "{more:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_body_comes_in_drops_and_ends() {
        let start = Instant::now();
        let trickle = Trickle { bytes: 2, every: Duration::from_secs(5) };
        let mut body = Pieces::trickle(Bytes::from_static(b"abcde"), trickle);
        for (drop, seconds) in [("ab", 0), ("cd", 5), ("e", 10)] {
            assert_eq!(next(&mut body).await.unwrap().unwrap(), drop.as_bytes());
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
        assert!(next(&mut body).await.is_none());
        assert!(next(&mut Pieces::trickle(Bytes::new(), trickle)).await.is_none());
    }
}

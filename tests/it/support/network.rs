//! A network between the worker and its provider that can be cut: at the sockets, not in what is said over them.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// So many connections wait to be accepted; the kernel drops the first packet of one more.
const BACKLOG: u32 = 16;
/// On loopback a connection that is not there at once never will be.
const FULL: Duration = Duration::from_millis(300);

/// How it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is not.
    None,
    /// Every connection is reset, a new one is refused.
    Refused,
    /// Packets are dropped: open connections are silent, new ones never come about. What was on its way then arrives after the cut.
    Silent,
    /// New connections come about, and no byte passes on any. Connections of before and of meanwhile stay dead after the cut, as behind a
    /// balancer that has forgotten them.
    Swallowed,
}

/// A TCP proxy before the provider.
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<Cut>,
    /// What fills the queue of connections while packets are dropped.
    fillers: Vec<StdStream>,
}

impl Network {
    /// Begins to carry connections to `provider`, on `runtime`.
    pub(crate) fn new(runtime: &Runtime, provider: SocketAddr) -> Self {
        let _inside = runtime.enter();
        let listener = bound(SocketAddr::from(([127, 0, 0, 1], 0))).listen(BACKLOG).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let (cut, seen) = watch::channel(Cut::None);
        runtime.spawn(accept(listener, provider, seen));
        Self { address, cut, fillers: Vec::new() }
    }

    /// Cuts it in this way, or mends it.
    pub(crate) fn set(&mut self, cut: Cut) {
        self.cut.send_replace(cut);
        if cut == Cut::Silent {
            let connect = || StdStream::connect_timeout(&self.address, FULL).ok();
            self.fillers = std::iter::from_fn(connect).collect();
        } else {
            self.fillers.clear();
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.set_reuseaddr(true).expect("a socket can be told so");
    socket.bind(address).expect("the address is free");
    socket
}

async fn accept(mut listener: TcpListener, provider: SocketAddr, mut cut: watch::Receiver<Cut>) {
    let address = listener.local_addr().expect("it is bound");
    loop {
        let now = *cut.borrow_and_update();
        match now {
            Cut::Refused => {
                drop(listener);
                // Bound and not listening, it refuses; and nobody else takes the port.
                let socket = bound(address);
                if cut.changed().await.is_err() {
                    return;
                }
                listener = socket.listen(BACKLOG).expect("it is bound");
            }
            Cut::Silent => {
                if cut.changed().await.is_err() {
                    return;
                }
            }
            Cut::None | Cut::Swallowed => tokio::select! {
                changed = cut.changed() => if changed.is_err() { return },
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("a listener accepts");
                    tokio::spawn(carry(stream, provider, cut.clone()));
                }
            },
        }
    }
}

async fn carry(mut worker: TcpStream, provider: SocketAddr, mut cut: watch::Receiver<Cut>) {
    let Ok(mut provider) = TcpStream::connect(provider).await else { return };
    let (from_worker, to_worker) = worker.split();
    let (from_provider, to_provider) = provider.split();
    let there = pump(from_worker, to_provider, cut.clone());
    let back = pump(from_provider, to_worker, cut.clone());
    // Whoever closes it closes it for both.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
    if *cut.borrow_and_update() == Cut::Refused {
        for stream in [&worker, &provider] {
            // Closed without lingering, it sends RST.
            stream.set_zero_linger().ok();
        }
    }
}

/// Carries one direction until it ends.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut cut: watch::Receiver<Cut>) {
    let mut bytes = vec![0; 1 << 16];
    while passes(&mut cut).await {
        tokio::select! {
            changed = cut.changed() => if changed.is_err() { return },
            read = from.read(&mut bytes) => {
                let Ok(read @ 1..) = read else { return };
                if !passes(&mut cut).await || to.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until bytes pass. `false`: the connection is reset.
async fn passes(cut: &mut watch::Receiver<Cut>) -> bool {
    loop {
        let now = *cut.borrow_and_update();
        match now {
            Cut::None => return true,
            Cut::Refused => return false,
            Cut::Silent => {
                if cut.changed().await.is_err() {
                    return false;
                }
            }
            Cut::Swallowed => std::future::pending().await,
        }
    }
}

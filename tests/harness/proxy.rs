//! A TCP proxy that misbehaves on command: it cuts connections in the middle of what they carry, and
//! holds everything up. It knows nothing of what is said over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How much is carried at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// In the middle of the next thing that the client says: the server gets half of it.
    Request,
    /// In the middle of the next thing that the server says: it did what it was asked, and the client
    /// cannot know.
    Reply,
    /// Between two things, at once.
    Now,
}

/// What holds for every connection.
#[derive(Clone, Copy)]
struct Order {
    held: bool,
    /// Connections that are older than this cut are to be cut so.
    cut: Cut,
    cuts: u64,
}

/// A proxy of one server. Dropping it cuts all that it carries.
pub struct Proxy {
    address: SocketAddr,
    orders: Arc<watch::Sender<Order>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy of the server at `server`, which need not be there yet.
    pub async fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (orders, order) = watch::channel(Order {
            held: false,
            cut: Cut::Now,
            cuts: 0,
        });
        let task = tokio::spawn(accept(listener, server, order));
        Self {
            address,
            orders: Arc::new(orders),
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that there is.
    pub fn cut(&self, at: Cut) {
        self.orders.send_modify(|order| {
            order.cut = at;
            order.cuts += 1;
        });
    }

    /// Carries nothing more until [`let_go`](Self::let_go), and loses nothing.
    pub fn hold(&self) {
        self.orders.send_modify(|order| order.held = true);
    }

    pub fn let_go(&self) {
        self.orders.send_modify(|order| order.held = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, order: watch::Receiver<Order>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, server, order.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one connection to its end. Its client sees a server that is away as a connection that
/// ends at once.
async fn carry(client: TcpStream, server: SocketAddr, order: watch::Receiver<Order>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // What is sent piece by piece arrives piece by piece.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cuts = order.borrow().cuts;
    let way = |from, to, cut_at| Way {
        from,
        to,
        cut_at,
        cuts,
        order: order.clone(),
    };
    // The first of the two that ends takes the other with it: both sockets close.
    tokio::select! {
        _ = way(from_client, to_server, Cut::Request).run() => {}
        _ = way(from_server, to_client, Cut::Reply).run() => {}
    }
}

/// One direction of a connection.
struct Way {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    /// The cut that falls on this direction.
    cut_at: Cut,
    /// Cuts that there were before this connection.
    cuts: u64,
    order: watch::Receiver<Order>,
}

impl Way {
    /// Carries until either end closes, or the connection is cut.
    async fn run(mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let order = *self.order.borrow_and_update();
            if order.cuts > self.cuts && order.cut == Cut::Now {
                return Ok(());
            }
            if order.held {
                self.ordered().await?;
                continue;
            }
            let length = tokio::select! {
                biased;
                ordered = self.order.changed() => {
                    ordered.map_err(io::Error::other)?;
                    continue;
                }
                length = self.from.read(&mut chunk) => length?,
            };
            let order = *self.order.borrow();
            if length == 0 {
                return Ok(());
            }
            if order.cuts > self.cuts && order.cut == self.cut_at {
                return self.to.write_all(&chunk[..length / 2]).await;
            }
            self.to.write_all(&chunk[..length]).await?;
        }
    }

    async fn ordered(&mut self) -> io::Result<()> {
        self.order.changed().await.map_err(io::Error::other)
    }
}

//! One connection as hyper sees it: its bytes and its timers.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer as HyperTimer, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::runtime::{Timer, Timers};

/// Pieces that are together no larger than this are copied into one, in bytes: sending one piece
/// costs the system less than gathering several, by more than copying so little does.
const ONE_PIECE_MAX: usize = 1024;

/// The bytes of a connection.
pub struct Wire(TokioIo<TcpStream>);

impl Wire {
    /// The bytes of `stream`.
    pub fn new(stream: TcpStream) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if pieces.len() < 2 || length > ONE_PIECE_MAX {
            return Pin::new(&mut self.0).poll_write_vectored(cx, pieces);
        }
        let mut one = [0; ONE_PIECE_MAX];
        let mut rest = &mut one[..];
        for piece in pieces {
            let (place, after) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = after;
        }
        Pin::new(&mut self.0).poll_write(cx, &one[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The timers of one connection: hyper makes a new one for the head of every request.
#[derive(Clone, Default)]
pub struct ConnectionTimer(Arc<Timers>);

impl HyperTimer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.0.until(deadline.into()))
    }
}

impl Sleep for Timer {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_their_order_few_or_many() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut reader = TcpStream::connect(address).await.unwrap();
        let mut wire = Wire::new(listener.accept().await.unwrap().0);

        for length in [1, ONE_PIECE_MAX - 7, ONE_PIECE_MAX, 4 * ONE_PIECE_MAX] {
            let body = vec![b'x'; length];
            let pieces = [&b"head"[..], &[], &body, b"end"].map(IoSlice::new);
            let sent = poll_fn(|cx| Pin::new(&mut wire).poll_write_vectored(cx, &pieces)).await;
            assert_eq!(sent.unwrap(), 4 + length + 3);
            let mut received = vec![0; 4 + length + 3];
            reader.read_exact(&mut received).await.unwrap();
            assert_eq!(received, [b"head", &body[..], b"end"].concat());
        }
    }
}

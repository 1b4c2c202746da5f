//! What a request costs before any component has a part in it: hyper alone answers the same bytes, in
//! a process of its own. No server over the same sockets can cost less.

use std::convert::Infallible;
use std::process::Command;

use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Has this program be the server: its only argument.
pub const ARGUMENT: &str = "--as-plain-server";

/// The command that runs it.
pub fn command() -> Command {
    let program = std::env::current_exe().expect("the bench has a path");
    let mut command = Command::new(program);
    command.arg(ARGUMENT);
    command
}

/// Serves until it is killed, and says where as `wharf --print-addresses` does.
pub fn serve() {
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");
    let served = runtime.block_on(async { tokio::spawn(accept()).await });
    served.expect("it does not panic").expect("it can listen");
}

async fn accept() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{{\"http\":\"{}\"}}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) {
    let answer = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(hello()) });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // A load that ends closes its connections as it likes.
    let _ = served.await;
}

/// As the guest writes it: a piece whose length is not said before.
fn hello() -> Response<impl Body<Data = Bytes, Error = Infallible>> {
    let piece = Ok(Frame::data(Bytes::from_static(b"hello\n")));
    Response::new(StreamBody::new(stream::iter([piece])))
}

//! Two thousand sessions that mean harm, each from an address of its own: whoever is thrown out comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// How long an attacker that was thrown out waits before it comes back.
const REST: Duration = Duration::from_millis(300);

pub(crate) struct Attack {
    runtime: Runtime,
    connections: Arc<AtomicUsize>,
}

impl Attack {
    pub(crate) fn begin(target: SocketAddr, attackers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let connections = Arc::new(AtomicUsize::new(0));
        for number in 0..attackers {
            let connections = Arc::clone(&connections);
            runtime.spawn(async move {
                loop {
                    if let Ok(stream) = connect(number, target).await {
                        connections.fetch_add(1, Ordering::Relaxed);
                        // What the relay does about it is up to the relay.
                        let _ = attack(number, stream).await;
                    }
                    tokio::time::sleep(REST).await;
                }
            });
        }
        Self { runtime, connections }
    }

    /// Connections made so far.
    pub(crate) fn connected(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends it; the connections made altogether.
    pub(crate) fn end(self) -> usize {
        self.runtime.shutdown_background();
        self.connections.load(Ordering::Relaxed)
    }
}

async fn connect(number: usize, target: SocketAddr) -> std::io::Result<TcpStream> {
    let [.., high, low] = number.to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 7, high, low.max(1)], 0)))?;
    socket.connect(target).await
}

async fn attack(number: usize, mut stream: TcpStream) -> std::io::Result<()> {
    match number % 8 {
        // Half open: not even the greeting is read.
        0 => silence(&mut stream).await,
        // Idle after EHLO.
        1 => {
            greet(&mut stream).await?;
            silence(&mut stream).await
        }
        // Idle in the handshake: the beginning of a ClientHello, and no more.
        2 => {
            greet(&mut stream).await?;
            stream.write_all(b"STARTTLS\r\n").await?;
            heard(&mut stream).await?;
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await?;
            silence(&mut stream).await
        }
        // A command, an octet at a time.
        3 => {
            heard(&mut stream).await?;
            drip(&mut stream, b"EHLO a-name-that-takes-its-time.example").await
        }
        // A header, an octet at a time.
        4 => {
            greet(&mut stream).await?;
            stream
                .write_all(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@campus.example>\r\nDATA\r\n")
                .await?;
            heard(&mut stream).await?;
            drip(&mut stream, b"X-Header: a-value-that-takes-its-time").await
        }
        // Broken: octets of no protocol.
        5 => {
            heard(&mut stream).await?;
            stream.write_all(&[0xff; 4096]).await?;
            silence(&mut stream).await
        }
        // Commands without end, and no reply is read.
        6 => {
            greet(&mut stream).await?;
            loop {
                stream.write_all(&b"RSET\r\n".repeat(50)).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // Connections without end.
        _ => Ok(()),
    }
}

async fn greet(stream: &mut TcpStream) -> std::io::Result<()> {
    heard(stream).await?;
    stream.write_all(b"EHLO a\r\n").await?;
    heard(stream).await
}

/// Something was said.
async fn heard(stream: &mut TcpStream) -> std::io::Result<()> {
    match stream.read(&mut [0; 1024]).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn silence(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn drip(stream: &mut TcpStream, octets: &[u8]) -> std::io::Result<()> {
    for octet in octets.iter().cycle() {
        stream.write_all(&[*octet]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

//! One SMTP connection of the generator: replies counted, not kept; commands pipelined where offered (RFC 2920).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::SERVER_NAME;

/// How long one reply may take before the connection counts as broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is said in one transaction.
pub struct Letter {
    /// MAIL and RCPT commands with DATA after them, each a line.
    pub envelope: Vec<String>,
    /// Mail data with the final dot.
    pub content: Vec<u8>,
}

impl Letter {
    /// A message with mail data of so many octets (at least its header) for so many recipients of a domain.
    pub fn new(octets: usize, recipients: usize, domain: &str) -> Self {
        let mut envelope = vec!["MAIL FROM:<alice@example.org>\r\n".to_owned()];
        envelope.extend((0..recipients).map(|n| format!("RCPT TO:<user{n}@{domain}>\r\n")));
        envelope.push("DATA\r\n".to_owned());
        let mut content = b"From: Alice Martin <alice@example.org>\r\nTo: user0@example.net\r\n\
            Date: Tue, 03 Mar 2026 10:00:00 +0000\r\nMessage-ID: <load@example.org>\r\nSubject: load\r\n\r\n"
            .to_vec();
        let line = b"The quick brown fox jumps over the lazy dog, and does it again and again.\r\n";
        while content.len() + line.len() < octets {
            content.extend_from_slice(line);
        }
        let missing = octets.saturating_sub(content.len() + 2);
        content.extend(std::iter::repeat_n(b'x', missing));
        content.extend_from_slice(b"\r\n.\r\n");
        Self { envelope, content }
    }
}

/// How a transaction ended.
pub enum Sent {
    /// 250 after the final dot, and how long it took.
    Accepted(Duration),
    /// A reply that is no success, whole.
    Refused(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection after EHLO.
pub struct Connection {
    stream: Box<dyn Stream>,
    replies: Replies,
    pipelining: bool,
}

impl Connection {
    /// Connects, greets, and starts TLS where a configuration is given.
    pub async fn open(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut replies = Replies::default();
        replies.expect(&mut stream, 220).await?;
        let mut extensions = ehlo(&mut stream, &mut replies).await?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                stream.write_all(b"STARTTLS\r\n").await?;
                replies.expect(&mut stream, 220).await?;
                let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
                let mut stream = TlsConnector::from(config).connect(name, stream).await?;
                extensions = ehlo(&mut stream, &mut replies).await?;
                Box::new(stream)
            }
        };
        Ok(Self {
            stream,
            replies,
            pipelining: extensions.contains("PIPELINING"),
        })
    }

    /// One transaction.
    pub async fn send(&mut self, letter: &Letter) -> io::Result<Sent> {
        let mut refused = None;
        if self.pipelining {
            self.write(letter.envelope.concat().as_bytes()).await?;
            for _ in &letter.envelope {
                refused = refused.or(self.replies.next(&mut self.stream).await?.refusal());
            }
        } else {
            for line in &letter.envelope {
                self.write(line.as_bytes()).await?;
                refused = self.replies.next(&mut self.stream).await?.refusal();
                if refused.is_some() {
                    break;
                }
            }
        }
        if let Some(text) = refused {
            return Ok(Sent::Refused(text));
        }
        self.write(&letter.content).await?;
        let dot = Instant::now();
        let reply = self.replies.next(&mut self.stream).await?;
        Ok(match reply.refusal() {
            None => Sent::Accepted(dot.elapsed()),
            Some(text) => Sent::Refused(text),
        })
    }

    /// QUIT, its reply, and the end of the stream.
    pub async fn quit(mut self) -> io::Result<()> {
        self.write(b"QUIT\r\n").await?;
        self.replies.expect(&mut self.stream, 221).await?;
        // The server may have closed already.
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }
}

async fn ehlo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, replies: &mut Replies) -> io::Result<String> {
    stream.write_all(b"EHLO load.example.org\r\n").await?;
    stream.flush().await?;
    Ok(replies.expect(stream, 250).await?.text)
}

struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn refusal(self) -> Option<String> {
        (self.code >= 400).then_some(self.text)
    }
}

/// Octets read and not yet taken as replies.
#[derive(Default)]
struct Replies {
    unread: Vec<u8>,
}

impl Replies {
    async fn expect<S: AsyncRead + Unpin>(&mut self, stream: &mut S, code: u16) -> io::Result<Reply> {
        let reply = self.next(stream).await?;
        if reply.code == code {
            return Ok(reply);
        }
        Err(io::Error::other(format!(
            "expected {code}, got {}",
            reply.text.trim_end()
        )))
    }

    async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<Reply> {
        loop {
            if let Some(end) = reply_end(&self.unread) {
                let text: Vec<u8> = self.unread.drain(..end).collect();
                let text = String::from_utf8_lossy(&text).into_owned();
                let code = text.get(..3).and_then(|code| code.parse().ok());
                let code = code.ok_or_else(|| io::Error::other(format!("not a reply: {text}")))?;
                return Ok(Reply { code, text });
            }
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut self.unread)).await??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Where the first whole reply ends: after the first line without a hyphen behind the code.
fn reply_end(octets: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let line = start + memchr::memchr(b'\n', octets.get(start..)?)? + 1;
        if octets.get(start + 3) != Some(&b'-') {
            return Some(line);
        }
        start = line;
    }
}

//! A next hop with scripted behaviour on a loopback port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the peer does about STARTTLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starttls {
    /// Not offered.
    Absent,
    /// Offered and done.
    Works,
    /// Offered, and the handshake is met with garbage.
    Breaks,
    /// TLS from the first octet instead.
    Wrapper,
}

/// What the peer says.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Its first line.
    pub(crate) greeting: &'static str,
    /// What else it announces.
    pub(crate) keywords: &'static [&'static str],
    /// Whether it offers PIPELINING.
    pub(crate) pipelining: bool,
    /// STARTTLS.
    pub(crate) starttls: Starttls,
    /// The reply to RCPT, by recipient.
    pub(crate) recipient: fn(&str) -> &'static str,
    /// The reply to DATA when no recipient was taken.
    pub(crate) data_to_nobody: &'static str,
    /// The reply to the final dot; `None` closes the connection instead.
    pub(crate) end: Option<&'static str>,
    /// What it does behind that reply.
    pub(crate) after: After,
}

/// What the peer does once it has taken a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Waits for the next.
    Waits,
    /// Closes the connection.
    Closes,
    /// Says this of its own accord, and closes.
    Says(&'static str),
    /// Answers this to the next command that is not QUIT, and closes.
    Answers(&'static str),
    /// Answers this to the next MAIL, and waits on.
    RefusesMail(&'static str),
    /// Closes once the next transaction has had a recipient taken.
    ClosesAfterRcpt,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            greeting: "220 peer",
            keywords: &[],
            pipelining: true,
            starttls: Starttls::Absent,
            recipient: |_| "250 2.1.5 ok",
            data_to_nobody: "554 5.5.1 no valid recipients",
            end: Some("250 2.0.0 queued"),
            after: After::Waits,
        }
    }
}

/// What the peer saw, over all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections taken.
    pub(crate) connections: usize,
    /// The addresses they came from.
    pub(crate) clients: Vec<std::net::IpAddr>,
    /// Command lines; `(TLS)` where a handshake was done.
    pub(crate) commands: Vec<String>,
    /// Mail data with its dots as they came, one entry per message.
    pub(crate) messages: Vec<String>,
}

/// A running peer; it lives as long as the test's runtime.
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Peer {
    /// Starts it on a port picked by the system.
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::start_as(behaviour, acceptor()).await
    }

    /// Starts it with a certificate of the caller's choice.
    pub(crate) async fn start_as(behaviour: Behaviour, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                record.lock().unwrap().connections += 1;
                record.lock().unwrap().clients.push(from.ip());
                let (record, acceptor) = (Arc::clone(&record), acceptor.clone());
                tokio::spawn(async move { serve(stream, behaviour, &record, acceptor).await });
            }
        });
        Self { address, seen }
    }

    /// What it saw so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    acceptor_of(made.cert.der().clone(), &made.signing_key)
}

/// TLS of a server with this certificate.
pub(crate) fn acceptor_of(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// How a dialogue ended.
enum End {
    Closed,
    Starttls,
}

async fn serve(stream: TcpStream, behaviour: Behaviour, seen: &Mutex<Seen>, acceptor: TlsAcceptor) {
    if behaviour.starttls == Starttls::Wrapper {
        return serve_secured(stream, behaviour, seen, acceptor).await;
    }
    let mut stream = BufReader::new(stream);
    say(&mut stream, behaviour.greeting).await;
    if let End::Closed = dialogue(&mut stream, behaviour, seen).await {
        return;
    }
    if behaviour.starttls == Starttls::Breaks {
        // Only once the client has begun: earlier it would be taken for an injected reply.
        let _ = stream.fill_buf().await;
        say(&mut stream, "this is not TLS").await;
        return;
    }
    serve_secured(stream.into_inner(), behaviour, seen, acceptor).await;
}

async fn serve_secured(stream: TcpStream, behaviour: Behaviour, seen: &Mutex<Seen>, acceptor: TlsAcceptor) {
    let Ok(mut secured) = acceptor.accept(stream).await else {
        return;
    };
    let resumed = secured.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let mark = if resumed { "(TLS resumed)" } else { "(TLS)" };
    seen.lock().unwrap().commands.push(mark.into());
    if behaviour.starttls == Starttls::Wrapper {
        say(&mut secured, behaviour.greeting).await;
    }
    let behaviour = Behaviour {
        starttls: Starttls::Absent,
        ..behaviour
    };
    dialogue(&mut BufReader::new(secured), behaviour, seen).await;
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) {
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}

async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    behaviour: Behaviour,
    seen: &Mutex<Seen>,
) -> End {
    let mut line = String::new();
    let (mut recipients, mut messages, mut begun) = (0, 0, false);
    loop {
        line.clear();
        if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
            return End::Closed;
        }
        let command = line.trim_end().to_owned();
        seen.lock().unwrap().commands.push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default();
        match (verb, behaviour.after) {
            ("QUIT", _) => return End::Closed,
            (_, After::Answers(reply)) if messages > 0 => {
                say(stream, reply).await;
                return End::Closed;
            }
            ("MAIL", After::RefusesMail(reply)) if messages > 0 => say(stream, reply).await,
            ("MAIL", _) => {
                begun = true;
                say(stream, "250 ok").await;
            }
            ("RCPT", _) if !begun => say(stream, "503 5.5.1 MAIL first").await,
            ("RCPT", after) => {
                let reply = (behaviour.recipient)(&command);
                say(stream, reply).await;
                recipients += usize::from(reply.starts_with('2'));
                if messages > 0 && after == After::ClosesAfterRcpt {
                    return End::Closed;
                }
            }
            ("EHLO", _) => say(stream, &hello(behaviour)).await,
            ("STARTTLS", _) => {
                say(stream, "220 go").await;
                return End::Starttls;
            }
            ("DATA", _) if recipients == 0 => {
                say(stream, behaviour.data_to_nobody).await;
                if behaviour.data_to_nobody.starts_with('3') {
                    let message = mail_data(stream).await;
                    seen.lock().unwrap().messages.push(message);
                    say(stream, "554 5.5.1 nobody").await;
                }
            }
            ("DATA", after) => {
                say(stream, "354 go").await;
                let message = mail_data(stream).await;
                seen.lock().unwrap().messages.push(message);
                (recipients, messages, begun) = (0, messages + 1, false);
                let Some(reply) = behaviour.end else { return End::Closed };
                say(stream, reply).await;
                match after {
                    After::Closes => return End::Closed,
                    After::Says(line) => {
                        say(stream, line).await;
                        return End::Closed;
                    }
                    _ => {}
                }
            }
            _ => say(stream, "250 ok").await,
        }
    }
}

fn hello(behaviour: Behaviour) -> String {
    let mut lines = String::from("250-peer\r\n250-SIZE 0\r\n");
    if behaviour.pipelining {
        lines.push_str("250-PIPELINING\r\n");
    }
    if behaviour.starttls != Starttls::Absent {
        lines.push_str("250-STARTTLS\r\n");
    }
    for keyword in behaviour.keywords {
        lines.push_str(&format!("250-{keyword}\r\n"));
    }
    lines + "250 ENHANCEDSTATUSCODES"
}

async fn mail_data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> String {
    let mut message = String::new();
    while matches!(stream.read_line(&mut message).await, Ok(1..)) {
        if message == ".\r\n" || message.ends_with("\r\n.\r\n") {
            break;
        }
    }
    message
}

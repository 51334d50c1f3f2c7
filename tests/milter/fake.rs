//! A filter that says what a test tells it to, and keeps what it was told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use estafette::wire::milter::command::Command;
use estafette::wire::milter::options::{Actions, Negotiation, Steps};
use estafette::wire::milter::packet::split;
use estafette::wire::milter::response::Response;

use crate::common::{free_port, wait_until};

/// What is answered to a command: octets, and whether the connection ends then.
type Script = dyn Fn(&Command) -> Answer + Send + Sync;

#[derive(Clone, Debug)]
pub enum Answer {
    /// These octets.
    Say(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The connection ends.
    Close,
    /// PROGRESS, again and again.
    EndlessProgress,
}

pub fn say(responses: &[Response]) -> Answer {
    Answer::Say(responses.iter().flat_map(Response::encode).collect())
}

#[derive(Clone)]
pub struct FakeMilter {
    pub port: u16,
    script: Arc<Mutex<Arc<Script>>>,
    seen: Arc<Mutex<Vec<Command>>>,
}

impl FakeMilter {
    /// A filter that may do anything and says CONTINUE.
    pub fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("loopback");
        let milter = Self {
            port,
            script: Arc::new(Mutex::new(Arc::new(default_answer))),
            seen: Arc::default(),
        };
        let serving = milter.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let milter = serving.clone();
                thread::spawn(move || milter.serve(stream));
            }
        });
        milter
    }

    /// What is answered from now on; `None` is CONTINUE, and OPTNEG with everything.
    pub fn answer(&self, script: impl Fn(&Command) -> Option<Answer> + Send + Sync + 'static) {
        let script = move |command: &Command| script(command).unwrap_or_else(|| default_answer(command));
        *self.script.lock().expect("script") = Arc::new(script);
        self.seen.lock().expect("seen").clear();
    }

    /// Waits until the connection that found out whether the relay listens is over.
    pub fn settle(&self) {
        wait_until("the first connection is over", || self.seen().contains(&Command::Quit));
    }

    /// What it was told since the script changed.
    pub fn seen(&self) -> Vec<Command> {
        self.seen.lock().expect("seen").clone()
    }

    pub fn directive(&self) -> String {
        format!("inet:127.0.0.1:{}", self.port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut unread = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            while let Some((packet, taken)) = split(&unread).expect("whole packets") {
                let command = Command::decode(packet).expect("a command");
                unread.drain(..taken);
                self.seen.lock().expect("seen").push(command.clone());
                if is_unanswered(&command) {
                    continue;
                }
                let script = Arc::clone(&self.script.lock().expect("script"));
                match script(&command) {
                    Answer::Say(octets) => {
                        if stream.write_all(&octets).is_err() {
                            return;
                        }
                    }
                    Answer::Silence => {}
                    Answer::Close => return,
                    Answer::EndlessProgress => {
                        while stream.write_all(&Response::Progress.encode()).is_ok() {
                            thread::sleep(Duration::from_millis(100));
                        }
                        return;
                    }
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => unread.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The agreement of a filter that does everything.
pub fn agreement(steps: Steps) -> Response {
    Response::Negotiate(Negotiation {
        version: 6,
        actions: Actions::ALL,
        steps,
        macros: Vec::new(),
    })
}

fn default_answer(command: &Command) -> Answer {
    match command {
        Command::Negotiate(_) => say(&[agreement(Steps::default())]),
        _ => say(&[Response::Continue]),
    }
}

fn is_unanswered(command: &Command) -> bool {
    matches!(
        command,
        Command::Macros { .. } | Command::Abort | Command::Quit | Command::QuitForNext
    )
}

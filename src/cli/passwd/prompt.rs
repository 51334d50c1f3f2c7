//! A password from a terminal, which does not show it, or from standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::wire::sasl::{PASSWORD_OCTETS_MAX, Secret};

/// What Ctrl-C sends while signals are off.
const INTERRUPT: u8 = 3;

/// Reads one line of standard input; its end is not part of the password.
///
/// # Errors
/// In words.
pub(super) fn from_stdin() -> Result<Secret, String> {
    let mut octets = Vec::new();
    let most = PASSWORD_OCTETS_MAX as u64 + 3;
    let read = io::stdin().lock().take(most).read_to_end(&mut octets);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if let Some(line) = octets.strip_suffix(b"\n") {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        octets.truncate(line.len());
    }
    checked(octets)
}

/// Asks on the terminal.
///
/// # Errors
/// In words: there is no terminal, or the answer is no password.
pub(super) fn from_terminal(prompt: &str) -> Result<Secret, String> {
    let no_terminal = |error: io::Error| format!("no terminal to ask on ({error}); use --stdin");
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(no_terminal)?;
    let silence = Silence::begin(&terminal).map_err(no_terminal)?;
    let _ = write!(terminal, "{prompt}: ");
    let read = read_line(&mut terminal);
    drop(silence);
    let _ = writeln!(terminal);
    checked(read?)
}

fn read_line(terminal: &mut File) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut octet = [0];
    while octets.len() <= PASSWORD_OCTETS_MAX {
        match terminal.read(&mut octet) {
            Ok(0) => break,
            Ok(_) => match octet {
                [b'\n'] => break,
                [INTERRUPT] => return Err("interrupted, nothing was changed".to_owned()),
                [other] => octets.push(other),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the terminal cannot be read: {error}")),
        }
    }
    Ok(octets)
}

/// What a client can send, and is worth a hash.
fn checked(octets: Vec<u8>) -> Result<Secret, String> {
    let password = Secret::new(octets);
    match password.octets() {
        [] => Err("the password is empty".to_owned()),
        long if long.len() > PASSWORD_OCTETS_MAX => {
            Err(format!("the password is longer than {PASSWORD_OCTETS_MAX} octets"))
        }
        octets if octets.iter().any(|octet| matches!(octet, 0 | b'\n' | b'\r')) => {
            Err("the password holds a line end or NUL: give one line".to_owned())
        }
        _ => Ok(password),
    }
}

/// A terminal that shows nothing and sends no signals, until this is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        // Without signals Ctrl-C cannot leave the terminal silent.
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        let terminal = terminal.try_clone()?;
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

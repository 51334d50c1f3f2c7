//! Debian's Postfix as an instance of its own, with its own configuration, queue and data directory; the system's instance,
//! if there is one, is left alone. The comparison of dialogues and the bench start it alike.
//!
//! **Bugs**: Postfix's master insists on being started by root.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Postfix's services: those of Debian's master.cf that a relay needs, without chroot.
const SERVICES: &str = "
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
";

/// How long Postfix may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance that runs.
pub struct Instance {
    configuration: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// Makes the instance below a directory, which Postfix's own user must be able to walk through, starts it, behind other
    /// words if given, and waits until it listens. `main_cf` holds what differs from instance to instance, `listeners` the
    /// lines of master.cf for its `smtpd`.
    ///
    /// # Errors
    /// It does not listen.
    pub fn start(
        directory: &Path,
        main_cf: &str,
        listeners: &str,
        address: SocketAddr,
        before: &[String],
    ) -> io::Result<Self> {
        let configuration = directory.join("etc");
        let data = directory.join("data");
        for path in [&configuration, &directory.join("queue"), &data] {
            fs::create_dir(path)?;
        }
        check(Command::new("chown").arg("postfix").arg(&data))?;
        fs::write(
            configuration.join("main.cf"),
            format!("{}{main_cf}", places(&directory.display().to_string())),
        )?;
        fs::write(configuration.join("master.cf"), format!("{listeners}\n{SERVICES}"))?;
        let mut words = before.iter().map(String::as_str).chain([POSTFIX]);
        let mut command = Command::new(words.next().unwrap_or(POSTFIX));
        command.args(words).arg("-c").arg(&configuration).arg("start-fg");
        let mut instance = Self {
            configuration,
            child: Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?),
        };
        instance.wait_until_it_listens(address, &directory.join("maillog"))?;
        Ok(instance)
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr, maillog: &Path) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(maillog).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "Postfix does not listen on {address}:\n{log}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Postfix's master, or the tracer that it was started behind.
    #[allow(dead_code, reason = "the bench alone asks")]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Stops the instance and waits for its end.
    ///
    /// # Errors
    /// It does not end, and is killed.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let told = check(Command::new(POSTFIX).arg("-c").arg(&self.configuration).arg("stop"));
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if told.is_err() || Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("Postfix does not stop"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

const POSTFIX: &str = "/usr/sbin/postfix";

/// Where everything of an instance lies, and that it delivers nothing itself.
fn places(directory: &str) -> String {
    format!(
        "compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
inet_interfaces = 127.0.0.1
mydestination =
alias_maps =
local_recipient_maps =
biff = no
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
"
    )
}

/// Runs a command that must succeed.
fn check(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

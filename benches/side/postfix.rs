//! Debian's Postfix, an instance of its own, tuned as a good administrator would tune a relay on loopback.
//!
//! It has its own configuration, queue and data directory; the system's instance, if there is one, is left alone.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bench::{Bench, Running, check, free_address, wait_until};
use super::run::Side;

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

/// An instance that runs.
pub struct Postfix {
    pub address: SocketAddr,
    configuration: PathBuf,
    child: Option<Running>,
}

impl Postfix {
    /// Writes the instance and starts it, behind other words if given.
    ///
    /// # Errors
    /// It does not listen.
    pub fn start(bench: &Bench, name: &str, next_hop: SocketAddr, before: &[String]) -> io::Result<Self> {
        let address = free_address()?;
        let directory = bench.file(name);
        let configuration = directory.join("etc");
        let queue = directory.join("queue");
        let data = directory.join("data");
        for path in [&directory, &configuration, &queue, &data] {
            fs::create_dir(path)?;
        }
        check(Command::new("chown").arg("postfix").arg(&data))?;
        fs::write(configuration.join("main.cf"), main_cf(bench, name, next_hop))?;
        let master = format!("{address} inet n - n - - smtpd\n{SERVICES}");
        fs::write(configuration.join("master.cf"), master)?;
        let mut postfix = Self {
            address,
            configuration,
            child: None,
        };
        postfix.spawn(before)?;
        Ok(postfix)
    }

    fn spawn(&mut self, before: &[String]) -> io::Result<()> {
        let mut words = before.iter().map(String::as_str).chain(["postfix"]);
        let mut command = Command::new(words.next().unwrap_or("postfix"));
        command.args(words).arg("-c").arg(&self.configuration).arg("start-fg");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.child = Some(Running(child));
        let address = self.address;
        wait_until("Postfix listens (its maillog says why not)", || {
            TcpStream::connect(address).is_ok()
        })
    }

    /// The instance under load: Postfix's master, or the tracer that it was started behind.
    pub fn side(&self) -> Side {
        Side {
            address: self.address,
            pid: self.child.as_ref().map_or(0, |child| child.0.id()),
        }
    }

    /// Stops the instance and waits for its end.
    ///
    /// # Errors
    /// It does not end, and is killed.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let _ = self.command("stop");
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.0.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::other("Postfix does not stop"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn command(&self, word: &str) -> io::Result<String> {
        check(Command::new("postfix").arg("-c").arg(&self.configuration).arg(word))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn main_cf(bench: &Bench, name: &str, next_hop: SocketAddr) -> String {
    let directory = bench.file(name).display().to_string();
    let pki = bench.directory.path().display().to_string();
    let port = next_hop.port();
    format!(
        "compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.org
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
local_recipient_maps =
biff = no
relayhost = [127.0.0.1]:{port}
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_tls_all_clientcerts, permit_mynetworks, reject
smtpd_relay_restrictions =
message_size_limit = 52428800
mailbox_size_limit = 0
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
# What an administrator turns up for throughput.
default_process_limit = 200
in_flow_delay = 0
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
default_destination_concurrency_limit = 100
initial_destination_concurrency = 50
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = 127.0.0.1
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 100000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_event_limit_exceptions = 127.0.0.0/8
max_use = 10000
# TLS towards clients, certificates asked for.
smtpd_tls_security_level = may
smtpd_tls_cert_file = {pki}/server.crt
smtpd_tls_key_file = {pki}/server.key
smtpd_tls_CAfile = {pki}/CAcert.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_session_cache_database = btree:{directory}/data/smtpd_scache
smtp_tls_security_level = none
"
    )
}

//! Debian's Postfix, an instance of its own, tuned as a good administrator would tune a relay on loopback.

#[path = "../../tests/common/postfix.rs"]
mod instance;

use std::fs;
use std::io;
use std::net::SocketAddr;

use super::bench::{Bench, free_address};
use super::run::Side;
use instance::Instance;

/// An instance that runs.
pub struct Postfix {
    pub address: SocketAddr,
    instance: Instance,
}

impl Postfix {
    /// Writes the instance and starts it, behind other words if given.
    ///
    /// # Errors
    /// It does not listen.
    pub fn start(bench: &Bench, name: &str, next_hop: SocketAddr, before: &[String]) -> io::Result<Self> {
        let address = free_address()?;
        let directory = bench.file(name);
        fs::create_dir(&directory)?;
        let listener = format!("{address} inet n - n - - smtpd");
        let instance = Instance::start(&directory, &main_cf(bench, name, next_hop), &listener, address, before)?;
        Ok(Self { address, instance })
    }

    /// The instance under load: Postfix's master, or the tracer that it was started behind.
    pub fn side(&self) -> Side {
        Side {
            address: self.address,
            pid: self.instance.pid(),
        }
    }
}

fn main_cf(bench: &Bench, name: &str, next_hop: SocketAddr) -> String {
    let directory = bench.file(name).display().to_string();
    let pki = bench.directory.path().display().to_string();
    let port = next_hop.port();
    format!(
        "myhostname = relay.example.org
inet_protocols = ipv4
relayhost = [127.0.0.1]:{port}
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_tls_all_clientcerts, permit_mynetworks, reject
smtpd_relay_restrictions =
message_size_limit = 52428800
mailbox_size_limit = 0
# What an administrator turns up for throughput.
default_process_limit = 200
in_flow_delay = 0
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

//! `estafette demo`: the real daemon on loopback with example certificates, a real queue directory and a small
//! receiving server as next hop; one message as a certificate holder, one without.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::args::DemoArguments;
use super::logging;
use crate::config;
use crate::daemon::Daemon;

mod client;
mod files;
mod next_hop;

use client::{Certificate, Dialogue};
use files::{FILES, write_private};

/// The port tried first, so that the line to try by hand is always the same.
const PORT: u16 = 2525;
/// How long the next hop may take to get the message.
const DELIVERY: Duration = Duration::from_secs(20);

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{what}: {source}")]
    System { what: String, source: io::Error },
    #[error("{0}")]
    Configuration(String),
    #[error(transparent)]
    Start(#[from] crate::daemon::StartError),
    #[error("{0}")]
    Unexpected(String),
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    let what = what.into();
    move |source| DemoError::System { what, source }
}

pub(super) async fn run(arguments: &DemoArguments) -> ExitCode {
    match demonstrate(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("estafette: the demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate(arguments: &DemoArguments) -> Result<(), DemoError> {
    let directory = arguments
        .directory
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("estafette-demo-{}", std::process::id())));
    let next_hop = next_hop::start(&directory).await.map_err(system(format!(
        "the receiving server cannot start in {}",
        directory.display()
    )))?;
    let config = write_files(&directory, next_hop.address.port()).map_err(system(directory.display().to_string()))?;
    let loaded = config::load(&config).map_err(|errors| DemoError::Configuration(errors.to_string()))?;
    let _log = logging::install(loaded.settings.log);
    let daemon = Daemon::start(&loaded.settings, Some(config.clone()), Vec::new())?;
    let relay = daemon.addresses().await.first().map(|(_, address)| *address);
    let relay = relay.ok_or_else(|| DemoError::Unexpected("the relay listens nowhere".into()))?;
    println!(
        "The relay listens on {relay}; its next hop on {}; all files are in {}.",
        next_hop.address,
        directory.display()
    );

    dialogues(&directory, &config, relay, next_hop).await?;
    if arguments.once {
        daemon.stop().await;
        return Ok(());
    }
    print_what_to_try(&directory, &config, relay);
    daemon.run().await.map_err(DemoError::Unexpected)
}

async fn dialogues(
    directory: &Path,
    config: &Path,
    relay: SocketAddr,
    mut next_hop: next_hop::NextHop,
) -> Result<(), DemoError> {
    let alice = Certificate::load(&directory.join("alice.pem"), &directory.join("alice.key"))
        .map_err(|error| DemoError::Configuration(error.to_string()))?;
    let roots = directory.join("CAcert.pem");
    println!("\n1. Alice, who holds a certificate of CNRS-Standard:\n");
    let with = client::send(relay, &roots, Some(alice))
        .await
        .map_err(system("the first dialogue"))?;
    print_dialogue(&with);
    explain(config, Some(&directory.join("alice.pem")))?;
    let delivered = tokio::time::timeout(DELIVERY, next_hop.delivered.recv())
        .await
        .ok()
        .flatten();
    let delivered = delivered.ok_or_else(|| DemoError::Unexpected("the next hop got nothing".into()))?;
    println!("\n   The next hop has it, over TLS: {}", delivered.display());

    println!("\n2. Somebody without a certificate:\n");
    let without = client::send(relay, &roots, None)
        .await
        .map_err(system("the second dialogue"))?;
    print_dialogue(&without);
    explain(config, None)?;
    if with.last_code != 250 || without.last_code != 554 {
        return Err(DemoError::Unexpected(format!(
            "expected 250 and 554, got {} and {}",
            with.last_code, without.last_code
        )));
    }
    println!("\nA certificate holder's message was relayed, the other one was refused.");
    Ok(())
}

fn print_dialogue(dialogue: &Dialogue) {
    for line in &dialogue.lines {
        println!("   {line}");
    }
}

/// Prints the trace that `estafette explain` prints for the same client.
fn explain(config: &Path, certificate: Option<&Path>) -> Result<(), DemoError> {
    use clap::Parser;
    let mut words = vec![
        "estafette".to_owned(),
        "explain".into(),
        "--config".into(),
        config.display().to_string(),
    ];
    if let Some(path) = certificate {
        words.extend(["--client-cert".into(), path.display().to_string()]);
    }
    for (option, value) in [
        ("--client-address", "127.0.0.1"),
        ("--helo", "laptop.example.org"),
        ("--mail-from", client::REVERSE_PATH),
        ("--rcpt-to", client::FORWARD_PATH),
    ] {
        words.extend([option.into(), value.into()]);
    }
    let arguments = super::args::Arguments::try_parse_from(&words);
    let Ok(super::args::Arguments {
        command: super::args::Command::Explain(arguments),
    }) = arguments
    else {
        return Err(DemoError::Unexpected("explain does not take its own arguments".into()));
    };
    println!("\n   Why ({}):", words.join(" "));
    let text = super::explain::explanation(&arguments).map_err(DemoError::Unexpected)?;
    for line in text.lines() {
        println!("   | {line}");
    }
    Ok(())
}

fn print_what_to_try(directory: &Path, config: &Path, relay: SocketAddr) {
    let here = directory.display();
    println!("\nThe relay stays up until Ctrl-C. From another terminal:\n");
    println!("  swaks --server {relay} --tls --tls-cert {here}/alice.pem --tls-key {here}/alice.key \\");
    println!(
        "        --from {} --to {}\n",
        client::REVERSE_PATH,
        client::FORWARD_PATH
    );
    println!("  estafette queue --config {} list\n", config.display());
}

fn write_files(directory: &Path, next_hop_port: u16) -> io::Result<PathBuf> {
    for (name, contents) in FILES {
        write_private(&directory.join(name), contents)?;
    }
    let port = match std::net::TcpListener::bind(("127.0.0.1", PORT)) {
        Ok(_free) => PORT,
        Err(_taken) => 0,
    };
    let config = directory.join("estafette.toml");
    let text = format!(
        r#"# Written by `estafette demo`.
myhostname = "relay.example.org"
queue_directory = "queue"

smtpd_tls_security_level = "may"
smtpd_tls_cert_file = "server.crt"
smtpd_tls_key_file = "server.key"
smtpd_tls_CAfile = "CAcert.pem"
smtpd_tls_ask_ccert = true
smtpd_tls_received_header = true

# Loopback is no trusted network here, so that only a certificate lets mail through.
mynetworks = ["192.0.2.0/24"]
smtpd_recipient_restrictions = ["permit_mynetworks", "permit_tls_all_clientcerts", "reject"]

relayhost = "[localhost]:{next_hop_port}"
smtp_tls_security_level = "verify"
smtp_tls_CAfile = "$smtpd_tls_CAfile"

log_level = "warn"

[[listener]]
name = "demo"
address = "127.0.0.1:{port}"
"#
    );
    write_private(&config, text.as_bytes())?;
    Ok(config)
}

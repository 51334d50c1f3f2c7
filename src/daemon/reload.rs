//! Reload: everything is read and checked first, then swapped as a whole; a wrong file changes nothing.

use std::sync::Arc;

use super::listeners::Materials;
use super::service::Daemon;
use crate::config::{self, Settings};
use crate::io::listener::connections_max;
use crate::io::{clock, systemd};
use crate::observe::log;

impl Daemon {
    /// Reads the configuration and its certificates again and swaps them in. Sessions in flight keep theirs.
    ///
    /// # Errors
    /// In words, with everything that is wrong; the old settings stay in force.
    pub async fn reload(&self) -> Result<String, String> {
        systemd::reloading();
        let result = self.try_reload().await;
        match &result {
            Ok(message) => {
                log::configuration_reloaded(message);
                systemd::ready(message);
            }
            Err(why) => {
                log::reload_refused(why);
                systemd::ready("the last reload was refused: the old settings stay in force");
            }
        }
        result
    }

    async fn try_reload(&self) -> Result<String, String> {
        let Some(path) = &self.config else {
            return Err("this daemon was started without a configuration file".into());
        };
        // Held from here on, so that of two reloads the later one reads the later file.
        let mut listeners = self.listeners.lock().await;
        let loaded = config::load(path).map_err(|errors| errors.lines().join("\n"))?;
        let settings = loaded.settings;
        if settings.queue.directory != self.queue_directory {
            let (new, old) = (settings.queue.directory.display(), self.queue_directory.display());
            return Err(format!(
                "queue_directory is now {new}: it needs a restart, this daemon holds {old}"
            ));
        }
        let materials = Materials::load(&settings, &self.watch, clock::unix_seconds())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        listeners
            .apply(&settings, &materials, &self.store, &self.queued)
            .map_err(|error| error.to_string())?;
        let connections_max = connections_max(settings.admission.sessions_max);
        self.shared.permits.resize(connections_max);
        self.shared.admission.configure(&settings.admission);
        self.watch.follow(materials.judges.clone());
        let old = self.plan.swap(Arc::new(materials.plan(&self.store)));
        // Deliveries under way finish over theirs, and then keep none.
        tokio::spawn(async move { old.deliverer.connections.close().await });
        self.queued.notify_one();
        for warning in &loaded.warnings {
            log::configuration_warned(&warning.one_line());
        }
        let count = settings.listeners.len();
        let noun = if count == 1 { "listener" } else { "listeners" };
        let later = self.needs_restart(&settings);
        Ok(format!("reloaded {}: {count} {noun}{later}", path.display()))
    }

    /// What changed but is read at start only.
    fn needs_restart(&self, settings: &Settings) -> String {
        let mut names = Vec::new();
        if settings.log.format != self.log.format {
            names.push("log_format");
        }
        if settings.log.level != self.log.level {
            names.push("log_level");
        }
        if settings.shutdown_timeout != self.grace {
            names.push("shutdown_timeout");
        }
        if settings.journal_octets_max != self.journal_octets_max {
            names.push("decision_journal_size_limit");
        }
        if names.is_empty() {
            return String::new();
        }
        format!("; {} changed, which needs a restart", names.join(", "))
    }
}

//! Reload: everything is read and checked first, then swapped as a whole; a wrong file changes nothing.

use std::sync::Arc;

use super::listeners::Materials;
use super::service::Daemon;
use crate::config;
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
        let loaded = config::load(path).map_err(|errors| errors.to_string())?;
        let settings = loaded.settings;
        if settings.queue.directory != self.queue_directory {
            let (new, old) = (settings.queue.directory.display(), self.queue_directory.display());
            return Err(format!(
                "queue_directory is now {new}: it needs a restart, this daemon holds {old}"
            ));
        }
        let materials = Materials::load(&settings, clock::unix_seconds())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let mut listeners = self.listeners.lock().await;
        listeners
            .apply(&settings, &materials, &self.store, &self.queued)
            .map_err(|error| error.to_string())?;
        self.plan.store(Arc::new(materials.plan(&self.store)));
        self.queued.notify_one();
        for warning in &loaded.warnings {
            log::configuration_warning(&warning.to_string());
        }
        Ok(format!(
            "reloaded {}: {} listeners",
            path.display(),
            settings.listeners.len()
        ))
    }
}

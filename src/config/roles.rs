//! Which parts of the work a controller does, beside others on the same database.

use super::{Config, ConfigError, Values};

/// All, unless the operator splits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// API and web interface.
    pub api: bool,
    /// Drives jobs and sends notifications.
    pub worker: bool,
    /// Serves media to BMCs and hosts, and takes what installers report.
    pub media: bool,
}

const NAMES: [&str; 3] = ["api", "worker", "media"];

impl Roles {
    pub fn parse(text: &str) -> Result<Roles, String> {
        let given: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if let Some(unknown) = given.iter().find(|name| !NAMES.contains(name)) {
            return Err(format!("`{unknown}` is unknown: use {}", NAMES.join(", ")));
        }
        let [api, worker, media] = NAMES.map(|name| given.contains(&name));
        match api || worker || media {
            true => Ok(Roles { api, worker, media }),
            false => Err(format!("no role is given: use one or more of {}", NAMES.join(", "))),
        }
    }

    pub fn all(self) -> bool {
        self.api && self.worker && self.media
    }
}

/// What a controller cannot do for want of another role.
pub fn refuse_contradictions(values: &Values, config: &Config) -> Result<(), ConfigError> {
    let Roles { worker, media, .. } = config.roles;
    if !config.roles.all() && config.database.file().is_some() {
        return Err(values.invalid(
            "ROLES",
            "splits the work between controllers, and the file in DB_URL has one controller: use a PostgreSQL database",
        ));
    }
    if media {
        return Ok(());
    }
    if worker && config.media_base_url.is_none() {
        return Err(values.invalid(
            "ROLES",
            "has worker and not media: set MEDIA_BASE_URL to the URL of the controllers that serve media",
        ));
    }
    if config.listen.media.is_some() {
        return Err(values.invalid("MEDIA_ADDR", "is a listener for media, and ROLES has no media"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_words_of_a_list() {
        let all = Roles { api: true, worker: true, media: true };
        assert_eq!(Roles::parse("media, api,worker"), Ok(all));
        assert_eq!(Roles::parse("api,"), Ok(Roles { worker: false, media: false, ..all }));
        assert_eq!(Roles::parse("api,db").unwrap_err(), "`db` is unknown: use api, worker, media");
        assert!(Roles::parse(" , ").unwrap_err().starts_with("no role is given"));
    }

    #[test]
    fn what_no_other_controller_could_do_is_refused() {
        let database = ("DB_URL", "postgres://shoal@localhost/shoal".to_owned());
        let config = |roles: &str, more: &[(&'static str, &str)]| {
            let mut given = vec![database.clone(), ("ROLES", roles.to_owned())];
            given.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            Config::with(&given).map(|config| config.roles.worker).map_err(|error| error.to_string())
        };
        assert!(Config::with(&[("ROLES", "api".to_owned())]).unwrap_err().to_string().contains("PostgreSQL"));
        assert!(config("worker", &[]).unwrap_err().contains("MEDIA_BASE_URL"));
        assert_eq!(config("worker", &[("MEDIA_BASE_URL", "http://media.example")]), Ok(true));
        assert!(config("api", &[("MEDIA_ADDR", "127.0.0.1:9")]).unwrap_err().contains("MEDIA_ADDR"));
    }
}

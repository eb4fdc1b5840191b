//! The table of settings: name, flag, default and meaning of each, once.
//!
//! Arguments, environment, file and help all come from it. It parses nothing (that is `config`).
//! Invariant: the name is that of the environment; the key in a file is the same in lower case.

use clap::{Arg, ArgAction};

/// One setting of `shoal serve`.
#[derive(Debug)]
pub struct Setting {
    /// In the environment.
    pub name: &'static str,
    /// Without the leading `--`.
    pub flag: &'static str,
    /// What a value looks like.
    pub value: &'static str,
    pub default: Option<&'static str>,
    pub help: &'static str,
    pub heading: &'static str,
}

impl Setting {
    pub fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.flag)
            .env(self.name)
            .hide_env_values(true)
            .value_name(self.value)
            .action(ArgAction::Set)
            .help(self.help)
            .help_heading(self.heading);
        let arg = match self.default {
            Some(default) => arg.default_value(default),
            None => arg,
        };
        if self.value == "BOOL" { arg.num_args(0..=1).default_missing_value("true") } else { arg }
    }
}

impl Setting {
    /// Only the controller may know its value.
    pub fn is_secret(&self) -> bool {
        matches!(self.value, "TOKEN" | "SECRET") || matches!(self.name, "MASTER_KEY" | "MASTER_KEY_OLD")
    }
}

/// The setting of that name; a name that is not in the table is a mistake of the program.
pub fn setting(name: &str) -> &'static Setting {
    all().find(|setting| setting.name == name).expect("the name stands in the table")
}

pub fn all() -> impl Iterator<Item = &'static Setting> {
    [LISTEN, STORE, INSTALLER, MEDIA, VERDICT, BMC, ENGINE].into_iter().flatten()
}

macro_rules! settings {
    ($table:ident, $heading:literal, $($name:literal, $flag:literal, $value:literal, $default:expr, $help:literal;)+) => {
        const $table: &[Setting] = &[$(Setting {
            name: $name, flag: $flag, value: $value, default: $default, help: $help, heading: $heading,
        }),+];
    };
}

settings! { LISTEN, "Listening and access",
    "CONTROLLER_HTTP_ADDR", "addr", "IP:PORT", Some("127.0.0.1:8080"),
        "Listen address of API, metrics and media";
    "TLS_CERT_FILE", "tls-cert", "FILE", None,
        "Certificate chain in PEM: serve HTTPS; reloaded on change";
    "TLS_KEY_FILE", "tls-key", "FILE", None, "Private key in PEM";
    "AUTH_MODE", "auth-mode", "MODE", Some("token"),
        "token; or none, where the listener is on loopback only";
    "SHOAL_BOOTSTRAP_TOKEN", "bootstrap-token", "TOKEN", None,
        "The admin token, instead of the one in admin.token beside the database; better given by the environment";
    "PUBLIC_URL", "public-url", "URL", None,
        "URL of the web interface in browsers, where a reverse proxy stands in front: scheme, host and port";
    "OIDC_ISSUER", "oidc-issuer", "URL", None,
        "Identity provider (OpenID Connect) whose signed tokens are accepted beside the controller's own";
    "OIDC_AUDIENCE", "oidc-audience", "NAME", None, "Expected token audience (`aud`)";
    "OIDC_CLIENT_ID", "oidc-client-id", "NAME", None,
        "Client at the identity provider, for sign-in at the web interface";
    "OIDC_CLIENT_SECRET", "oidc-client-secret", "SECRET", None,
        "Secret of that client; better given by the environment. None: a public client";
    "OIDC_ROLE_CLAIM", "oidc-role-claim", "NAME", Some("roles"),
        "Claim that holds role names; dots address nested fields, as in realm_access.roles";
    "OIDC_ROLE_MAP", "oidc-role-map", "NAME=ROLE,…",
        Some("shoal-viewer=viewer,shoal-operator=operator,shoal-admin=admin"), "Role that each name in that claim gives";
    "AUTH_FAILURES_PER_MINUTE", "auth-failures-per-minute", "N", Some("10"),
        "Wrong tokens or secrets from one address that are answered 401; more are 429. All addresses together may be wrong 30 times as often";
    "WRITES_PER_MINUTE", "writes-per-minute", "N", Some("6000"), "Writes by one token; more are 429";
    "WEBHOOK_SECRET", "webhook-secret", "SECRET", None,
        "Expected in X-Webhook-Secret; without one the webhook is 404";
    "WEBHOOK_SECRET_OLD", "webhook-secret-old", "SECRET", None,
        "Accepted too, during a rotation";
    "CA_FILE", "ca-file", "FILE", None, "Extra roots for outbound TLS, in PEM";
}

settings! { STORE, "Files",
    "DB_URL", "db", "FILE|URL", Some("./var/shoal/shoal.db"),
        "SQLite database, or for several controllers postgres://USER@HOST[,HOST…]/DATABASE";
    "DB_URL_FILE", "db-url-file", "FILE", None,
        "File that holds DB_URL, which keeps its password out of arguments and environment";
    "DB_TLS", "db-tls", "HOW", Some("verify"),
        "verify: off loopback the connection to PostgreSQL is encrypted and the server's certificate verified. off: it is in clear";
    "ROLES", "roles", "WORD,…", Some("api,worker,media"),
        "What this controller does beside others of the same PostgreSQL database: api (with the web interface), worker (drives jobs), media";
    "MASTER_KEY_FILE", "master-key-file", "FILE", Some("./var/shoal/master.key"),
        "32 random bytes, made at the first start; seals BMC passwords and kickstarts at rest";
    "MASTER_KEY", "master-key", "HEX", None,
        "The master key itself, 64 hex digits; better given by the environment, or as the credential master.key of systemd";
    "MASTER_KEY_OLD", "master-key-old", "HEX", None,
        "The key before it, while shoal key rotate seals everything anew";
    "BMC_SECRETS_DIR", "bmc-secrets-dir", "DIR", None,
        "Where the files are that a bmc_password of the form file:NAME names; one of the form env:NAME is in a variable SHOAL_SECRET_…";
    "TASK_ISO_DIR", "task-iso-dir", "DIR", Some("./var/shoal/task-isos"), "Where task ISOs are built";
    "TASK_ISO_RETENTION", "task-iso-retention", "DURATION", Some("0s"),
        "How long a task ISO is kept after its job";
}

settings! { INSTALLER, "ESXi installer",
    "ESXI_INSTALLER_URL", "esxi-installer-url", "URL|FILE", None,
        "Vendor ISO (CD1): https://, http://, file:// or a path";
    "ESXI_INSTALLER_SHA256", "esxi-installer-sha256", "HEX", None, "SHA-256 that the vendor ISO must have";
    "ESXI_INSTALLER_DELIVERY", "esxi-installer-delivery", "HOW", Some("auto"),
        "direct: the BMC is given the URL as it is. served: the controller serves the ISO with its boot options set. auto: direct where the image needs no change";
    "ESXI_INSTALLER_ALLOW", "esxi-installer-allow", "URL,…", None,
        "Prefixes of the URLs that a recipe may name as its installer [default: the host of ESXI_INSTALLER_URL]";
    "INSTALLER_CACHE_DIR", "installer-cache-dir", "DIR", Some("./var/shoal/installers"),
        "Downloaded vendor ISOs";
    "INSTALLER_CACHE_BYTES", "installer-cache-bytes", "SIZE", Some("20GiB"), "Limit of the downloads kept";
}

settings! { MEDIA, "Media for BMCs",
    "MEDIA_BASE_URL", "media-base-url", "URL", None,
        "Base of the media URLs given to BMCs [default: derived from MAINTENANCE_ISO_URL, if that leads back here, or from the listen address]";
    "MAINTENANCE_ISO_URL", "maintenance-iso-url", "URL|FILE", None,
        "CD1 of Linux and Windows jobs: an http(s) URL, given to the BMC as it is, or a path, served by the controller; ignored for ESXi, save that MEDIA_BASE_URL may be derived from it";
    "IMAGES_ALLOW", "images-allow", "URL,…", None,
        "Prefixes of the URLs that a Linux or Windows recipe may name as its image; of an oci_url, https://HOST/REPOSITORY [default: none]";
    "IMAGES_DIR", "images-dir", "DIR", Some("./var/shoal/images"),
        "Images for Linux and Windows that this controller hosts (shoal image add)";
    "IMAGES_BYTES", "images-bytes", "SIZE", Some("200GiB"), "Limit of all images in IMAGES_DIR";
    "IMAGES_AUTO_MEDIA_BYTES", "images-auto-media-bytes", "SIZE", Some("4GiB"),
        "The largest image that a recipe with image.source auto puts on CD2";
    "REGISTRY_AUTH_FILE", "registry-auth-file", "FILE", None,
        "Logins for the registries of oci_url, in the format of docker's config.json; read at each login";
    "REGISTRY_TOKEN_HOSTS", "registry-token-hosts", "HOST[:PORT],…", None,
        "Token servers that may be sent a registry's login although they are on another host";
    "REGISTRY_PLAIN_HTTP", "registry-plain-http", "HOST[:PORT],…", None,
        "Registries that are asked by plain HTTP; logins are then sent in the clear";
    "MEDIA_LAYOUT", "media-layout", "LAYOUT", Some("auto"), "auto, dual-cd, single-cd or cd-usb";
    "MEDIA_ADDR", "media-addr", "IP:PORT", None, "A listener of its own for media, plain HTTP";
    "MEDIA_TLS", "media-tls", "BOOL", Some("false"), "HTTPS on MEDIA_ADDR too";
    "MEDIA_BYTES_PER_SECOND", "media-bytes-per-second", "SIZE", None,
        "Bandwidth of all media together, such as 500MB; without it there is no limit";
    "MEDIA_BIND_PEER", "media-bind-peer", "BOOL", Some("false"),
        "Serve a job's media to its BMC's address alone, which must be known as one; not for BMCs behind address translation";
}

settings! { VERDICT, "Watching the installation",
    "ESXI_STABLE_WINDOW", "esxi-stable-window", "DURATION", Some("90s"), "PowerState=On must hold so long";
    "ESXI_INSTALL_TIMEOUT", "esxi-install-timeout", "DURATION", Some("90m"),
        "Limit of the whole wait; time in which nothing could be observed does not count";
    "ESXI_BOOT_TIMEOUT", "esxi-boot-timeout", "DURATION", Some("30m"), "From the reset to the first read of CD1";
    "ESXI_KS_TIMEOUT", "esxi-ks-timeout", "DURATION", Some("20m"),
        "From the last new read of CD1 to the read of the kickstart";
    "ESXI_POLL_INTERVAL", "esxi-poll-interval", "DURATION", Some("10s"),
        "Steady poll interval; unless it is given, at most a third of ESXI_STABLE_WINDOW";
    "ESXI_DETECTION", "esxi-detection", "HOW", Some("evidence"),
        "evidence; or power, the plain rule of stable On for the window";
    "ESXI_MIN_INSTALL_TIME", "esxi-min-install-time", "DURATION", Some("10m"),
        "Floor for a verdict that rests on power alone";
    "ESXI_PROOF_FLOOR", "esxi-proof-floor", "DURATION", Some("1m"),
        "No real installation gets from the read of its kickstart to its %post sooner; set it lower for quick stand-ins only";
    "ESXI_MIN_CONFIDENCE", "esxi-min-confidence", "WORD", Some("assumed"),
        "assumed, probable or proven; a weaker verdict ends the job failed";
    "ESXI_FINAL_RESET", "esxi-final-reset", "WHEN", Some("auto"), "auto, always or never";
    "MAINTENANCE_TIMEOUT", "maintenance-timeout", "DURATION", Some("2h"),
        "Limit of a Linux or Windows installation, from the start of the host to its result; time in which nothing could be observed does not count";
    "MAINTENANCE_BOOT_TIMEOUT", "maintenance-boot-timeout", "DURATION", Some("30m"),
        "From the start of the host to the read of the recipe on CD2";
}

settings! { BMC, "BMCs",
    "RESET_GRACEFUL_TIMEOUT", "reset-graceful-timeout", "DURATION", Some("3m"),
        "Wait for a graceful shutdown before forcing";
    "ALLOW_POWERED_ON", "allow-powered-on", "BOOL", Some("true"),
        "false: a job on a host that is On fails unless its recipe says allow_powered_on";
    "REDFISH_TIMEOUT", "redfish-timeout", "DURATION", Some("30s"), "Limit of one request";
    "REDFISH_INSERT_TIMEOUT", "redfish-insert-timeout", "DURATION", Some("15m"),
        "Limit of an insert: some BMCs fetch the whole image before they answer";
    "REDFISH_RETRIES", "redfish-retries", "N", Some("5"), "Further tries of a read that failed";
    "REDFISH_PER_BMC", "redfish-per-bmc", "N", Some("1"),
        "Requests in flight per system of a BMC, 1 to 8";
}

settings! { ENGINE, "Jobs",
    "JOB_RETENTION", "job-retention", "DURATION", Some("90d"),
        "Remove jobs, with recipes and events, so long after their end; refused submissions after 7d at the latest. never: keep them";
    "EVENT_RETENTION", "event-retention", "DURATION", None,
        "Remove the events of a job so long after its end [default: with the job]";
    "AUDIT_EXPORT_DIR", "audit-export-dir", "DIR", None,
        "Export audit entries older than JOB_RETENTION to this directory, then remove them; without it none is removed";
    "NOTIFY_URL", "notify-url", "URL", None,
        "Report the ends of jobs and batches to this URL by POST, as Standard Webhooks";
    "NOTIFY_SECRET", "notify-secret", "SECRET", None,
        "Sign those reports: whsec_ and 24 to 64 bytes in base64";
    "KICKSTART_LINT", "kickstart-lint", "MODE", Some("warn"),
        "warn: findings of the kickstart linter are events of the job. deny: a kickstart that would stop the installation is refused. off: kickstarts are not checked";
    "WORKER_CONCURRENCY", "workers", "N", Some("256"), "Concurrent jobs";
    "JOB_LEASE_TTL", "job-lease-ttl", "DURATION", Some("60s"), "How long a claim on a job holds without a heartbeat";
    "JOB_STUCK_TIMEOUT", "job-stuck-timeout", "DURATION", Some("4h"), "A job without progress for so long is failed";
    "DRAIN_TIMEOUT", "drain-timeout", "DURATION", Some("20s"), "Limit of a graceful shutdown";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_flags_are_unique_and_flags_follow_names() {
        let names: BTreeSet<&str> = all().map(|setting| setting.name).collect();
        let flags: BTreeSet<&str> = all().map(|setting| setting.flag).collect();
        assert_eq!(names.len(), all().count());
        assert_eq!(flags.len(), all().count());
        let contract = ["addr", "tls-cert", "tls-key", "bootstrap-token", "db", "workers"];
        for setting in all().filter(|setting| !contract.contains(&setting.flag)) {
            assert_eq!(setting.flag, setting.name.to_ascii_lowercase().replace('_', "-"));
        }
    }
}

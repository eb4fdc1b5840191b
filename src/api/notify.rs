//! Outgoing notifications: the ends of jobs and batches, as signed HTTP requests to one URL of the operator's.
//!
//! The headers and the signature are those of Standard Webhooks. A notification is delivered at least once: it is
//! removed only after a 2xx answer, and one id names it in every attempt. Redirects are not followed. Invariants: an
//! answer decides by its status alone; a receiver that fails or hangs delays no job.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sha2::Sha256;
use shoal_base::with_causes;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use url::Url;
use zeroize::Zeroizing;

use super::batches::BatchBody;
use super::jobs::JobBody;
use crate::store::{Notification, NotificationSubject, Store, StoreError};
use shoal_base::world::{TlsPolicy, World, after, elapsed};

/// Those that are under way at the same time.
const IN_FLIGHT: usize = 8;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// For so long no other controller sends what this one has taken.
const TAKEN_FOR: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After so long without success a notification is dropped.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Waits after the first attempts, in seconds; the last one repeats.
const RETRY_SECS: [u64; 8] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400];

/// Where notifications go.
#[derive(Clone)]
pub struct NotifySettings {
    pub url: Url,
    /// Signs them.
    pub secret: Option<NotifySecret>,
}

impl std::fmt::Debug for NotifySettings {
    /// Without the path and the query, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

/// A secret in the form of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone)]
pub struct NotifySecret(Zeroizing<Vec<u8>>);

impl std::str::FromStr for NotifySecret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<NotifySecret, Self::Err> {
        let text = text.trim();
        let bytes = BASE64_STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text));
        let bytes = bytes.ok().filter(|bytes| (24..=64).contains(&bytes.len()));
        bytes.map(|bytes| NotifySecret(Zeroizing::new(bytes))).ok_or(
            "must be whsec_ and 24 to 64 bytes in base64: make one with `echo whsec_$(openssl rand -base64 32)`",
        )
    }
}

impl std::fmt::Debug for NotifySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NotifySecret")
    }
}

impl NotifySecret {
    /// The value of `webhook-signature`.
    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Sends what waits in the store.
pub struct Notifier {
    store: Store,
    world: World,
    settings: NotifySettings,
}

/// How an attempt went.
enum Attempt {
    Delivered,
    /// It is about something that is gone.
    Obsolete,
    Failed(String),
}

impl Notifier {
    pub fn new(store: Store, world: World, settings: NotifySettings) -> Notifier {
        Notifier { store, world, settings }
    }

    /// Sends until `shutdown`; an attempt that is cut off is made again at the next start.
    pub async fn run(&self, shutdown: CancellationToken) {
        let sending = async {
            loop {
                if let Err(error) = self.send_due().await {
                    tracing::warn!(error = %with_causes(&error), "notifications cannot be read or written");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _stopped = shutdown.run_until_cancelled(sending).await;
    }

    /// One attempt for each notification that is due.
    async fn send_due(&self) -> Result<(), StoreError> {
        loop {
            let now = self.world.clock.now();
            let due = self.store.take_notifications(now, after(now, TAKEN_FOR), IN_FLIGHT).await?;
            if due.is_empty() {
                return Ok(());
            }
            let attempts = due.into_iter().map(|notification| async move {
                let attempt = self.attempt(&notification).await?;
                self.settle(&notification, attempt).await
            });
            join_all(attempts).await.into_iter().collect::<Result<(), StoreError>>()?;
        }
    }

    async fn attempt(&self, notification: &Notification) -> Result<Attempt, StoreError> {
        let Some(body) = self.body(notification).await? else { return Ok(Attempt::Obsolete) };
        Ok(match tokio::time::timeout(ANSWER_TIMEOUT, self.send(notification, body.to_string())).await {
            Ok(Ok(status)) if status.is_success() => Attempt::Delivered,
            Ok(Ok(status)) if status.is_redirection() => {
                Attempt::Failed(format!("it answered {status}, and redirects are not followed"))
            }
            Ok(Ok(status)) => Attempt::Failed(format!("it answered {status}")),
            Ok(Err(error)) => Attempt::Failed(error),
            Err(_) => Attempt::Failed(format!("it did not answer in {} s", ANSWER_TIMEOUT.as_secs())),
        })
    }

    async fn send(&self, notification: &Notification, body: String) -> Result<StatusCode, String> {
        let id = message_id(notification);
        let timestamp = self.world.clock.now().as_second();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.settings.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .extension(TlsPolicy::Verify);
        if let Some(secret) = &self.settings.secret {
            request = request.header("webhook-signature", secret.sign(&id, timestamp, &body));
        }
        let request = request.body(Bytes::from(body)).map_err(|error| error.to_string())?;
        let answer = self.world.transport.clone().oneshot(request).await;
        answer.map(|answer| answer.status()).map_err(|error| error.to_string())
    }

    /// What is reported; `None` where the subject is gone.
    async fn body(&self, notification: &Notification) -> Result<Option<Value>, StoreError> {
        let now = self.world.clock.now();
        let batch = async |id| -> Result<_, StoreError> {
            let batch = self.store.batch(id).await?;
            Ok(batch.map(|batch| json!({ "batch": BatchBody::of(batch, None, now) })))
        };
        let (kind, data) = match notification.subject {
            NotificationSubject::JobEnded(id) => {
                let job = self.store.stored_job(id).await?;
                ("job.ended", job.map(|job| json!({ "job": JobBody::from(job).brief() })))
            }
            NotificationSubject::BatchHalted(id) => ("batch.halted", batch(id).await?),
            NotificationSubject::BatchEnded(id) => ("batch.ended", batch(id).await?),
        };
        Ok(data.map(|data| json!({ "type": kind, "timestamp": notification.at, "data": data })))
    }

    async fn settle(&self, notification: &Notification, attempt: Attempt) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        let outcome = match attempt {
            Attempt::Delivered => "delivered",
            Attempt::Obsolete => "obsolete",
            Attempt::Failed(why) if elapsed(notification.at, now) >= GIVE_UP_AFTER => {
                tracing::error!(
                    id = message_id(notification),
                    why,
                    "a notification is dropped after three days of attempts"
                );
                "dropped"
            }
            Attempt::Failed(why) => {
                let next = after(now, self.wait(notification));
                tracing::warn!(id = message_id(notification), why, %next, "a notification was not delivered: see NOTIFY_URL");
                count("failed");
                return self.store.put_notification_off(notification.id, next).await;
            }
        };
        count(outcome);
        self.store.remove_notification(notification.id).await
    }

    /// With jitter, so that many that failed together do not come back together.
    fn wait(&self, notification: &Notification) -> Duration {
        let index = usize::try_from(notification.attempts).unwrap_or(usize::MAX).min(RETRY_SECS.len() - 1);
        let mut random = [0; 1];
        self.world.rng.fill(&mut random);
        Duration::from_secs(RETRY_SECS[index]).mul_f64(0.8 + 0.4 * f64::from(random[0]) / 255.0)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("shoal_provisioner_notifications_total", "outcome" => outcome).increment(1);
}

/// The same in every attempt.
fn message_id(notification: &Notification) -> String {
    let subject = match notification.subject {
        NotificationSubject::JobEnded(id) => id.to_string(),
        NotificationSubject::BatchHalted(id) | NotificationSubject::BatchEnded(id) => id.to_string(),
    };
    format!("msg_{subject}_{}", notification.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference implementation.
        let secret: NotifySecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_secret_is_refused_with_a_remedy() {
        for text in ["", "whsec_", "secret", "whsec_c2hvcnQ="] {
            assert!(text.parse::<NotifySecret>().unwrap_err().contains("openssl"), "{text}");
        }
        assert!(
            !format!("{:?}", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse::<NotifySecret>()).contains("MfKQ")
        );
    }
}

//! A job's completion hook: the kickstart as it is embedded, and what its last section reads or calls.
//!
//! Pure but for the keys it is handed. Invariant: without a hook of Shoal's own the kickstart is the
//! operator's, byte for byte.

use super::kickstart::{Hook, render_with_hook};
use crate::domain::{CompletionHook, EsxiSpec, Job, Kickstart, Serial};
use crate::flow::Services;
use crate::token::{self, Token};
use shoal_image::iso::NONCE_NAME;

/// The kickstart that the task ISO of this job holds.
pub fn kickstart(services: &Services, job: &Job, spec: &EsxiSpec) -> Kickstart {
    let own = spec.kickstart.expose();
    match spec.completion_hook {
        CompletionHook::None | CompletionHook::OwnPoweroff => spec.kickstart.clone(),
        CompletionHook::Poweroff => {
            Kickstart::new(render_with_hook(own, Hook::Poweroff { nonce_name: NONCE_NAME }))
        }
        CompletionHook::Webhook => {
            let base = job.facts.media_base.as_deref().unwrap_or_default();
            let url = webhook_url(base, &job.server, &token::of_hook(&services.hook_key, job.id));
            Kickstart::new(render_with_hook(own, Hook::Webhook { url: &url }))
        }
    }
}

/// What the added section reads, where it reads anything. That it is read counts, not what it is.
pub fn nonce(services: &Services, job: &Job, spec: &EsxiSpec) -> Option<String> {
    let reads = spec.completion_hook == CompletionHook::Poweroff;
    reads.then(|| format!("{}\n", Token::new(&services.hook_key, &format!("{}|nonce", job.id)).expose()))
}

/// Under the base of the media's URLs: the one address of this controller that the job knows of.
fn webhook_url(base: &str, serial: &Serial, token: &Token) -> String {
    let base = base.trim_end_matches('/').replace('\'', "%27");
    let serial = serial.as_str().replace(' ', "%20");
    format!("{base}/api/v1/status-webhook/{serial}/{}", token.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhooks_url_has_nothing_that_a_shell_minds() {
        let token = Token::new(&[1; 32], "x");
        let url = webhook_url("http://10.0.0.1:8080/it's/", &"A 1.b".parse().unwrap(), &token);
        let expected =
            format!("http://10.0.0.1:8080/it%27s/api/v1/status-webhook/A%201.b/{}", token.expose());
        assert_eq!(url, expected);
    }
}

//! Texts that operators and vendors write: boot options, kickstarts, recipes.
//!
//! What our readers make of them is compared with what the simulated guest does, which shares no code
//! with them. Invariant: what is kept secret of an input appears in no error.

use serde_json::{Map, Value};

use crate::domain::{KICKSTART_BYTES_MAX, Serial, parse_recipe};
use crate::paths::esxi::kickstart::{Hook, render_with_hook};
use shoal_image::installer::{KickstartOn, fit, parse_boot_config, set_kickstart};
use shoal_sim::read_as_guest;

/// BOOT.CFG: our option set, the rest as it was, the requested length.
pub fn boot_cfg(data: &[u8]) {
    let before = parse_boot_config(data);
    for on in [KickstartOn::Cd, KickstartOn::Usb] {
        let Ok(edited) = set_kickstart(data, on) else { continue };
        let after = parse_boot_config(&edited);
        let guest = read_as_guest::boot_options(&edited);
        assert_eq!(set_kickstart(&edited, on).as_ref(), Ok(&edited), "a second change is none");
        assert!(after.kernelopt.as_ref().is_some_and(|options| options.ends_with(on.option())));
        assert_eq!(
            (&before.kernel, &before.modules, &before.build),
            (&after.kernel, &after.modules, &after.build)
        );
        if is_plain(data) {
            assert!(guest.is_none() || guest == on.option().strip_prefix("ks=").map(str::to_owned));
        }
        for len in [data.len(), edited.len().saturating_sub(20), edited.len(), edited.len() + 9] {
            let Some(fitted) = fit(&edited, len) else { continue };
            let mut meant = parse_boot_config(&fitted);
            assert_eq!(fitted.len(), len);
            assert!(meant.title == after.title || meant.title.as_deref() == Some("ESXi"));
            meant.title.clone_from(&after.title);
            assert_eq!(meant, after);
        }
    }
}

/// Shortened keys and vertical tabs, which mboot takes, are nothing to the guest.
fn is_plain(boot_cfg: &[u8]) -> bool {
    let mut lines = boot_cfg.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_ascii_lowercase());
    !boot_cfg.contains(&0x0b)
        && lines.all(|line| !line.starts_with(b"kernelo") || line.starts_with(b"kernelopt"))
}

/// A hook behind whatever an operator wrote.
pub fn kickstart(data: &[u8]) {
    read_as_guest::judge(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A keyword on the last line belongs to the section before it, and no more once a hook follows.
    if text.lines().last().is_some_and(|line| line.starts_with('%') || line.starts_with("include")) {
        return;
    }
    let before = read_as_guest::posts(text);
    for hook in [Hook::Poweroff { nonce_name: "NONCE.TXT" }, Hook::Webhook { url: "http://10.0.0.1/x/y" }] {
        let rendered = render_with_hook(text, hook);
        assert!(rendered.starts_with(text));
        let (Some(before), Some(after)) = (&before, read_as_guest::posts(&rendered)) else {
            assert!(before.is_none(), "a hook does not spoil a kickstart");
            continue;
        };
        assert_eq!(after.len(), before.len() + 1, "the hook is a section of its own, the last");
        let added = after.last().expect("there is one more than before");
        assert!(added.starts_with("# Added by Shoal for completion_hook "), "{added}");
        assert_eq!(after[..before.len()].concat().trim_end(), before.concat().trim_end());
    }
}

/// The body of a job: a spec that keeps every rule, or faults that quote no kickstart.
pub fn recipe(data: &[u8]) {
    let Ok(recipe) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let serial: Serial = "ABCDEF123456".parse().expect("the serial of the public contract is one");
    match parse_recipe(&recipe, &serial) {
        Ok(spec) => {
            assert!(spec.metadata.to_string().len() <= 17 << 10);
            let Some(esxi) = spec.esxi() else { return };
            assert!((1..=KICKSTART_BYTES_MAX).contains(&esxi.kickstart.size()));
            let shown = format!("{spec:?}");
            assert!(esxi.kickstart.size() < 64 || !shown.contains(esxi.kickstart.expose()));
        }
        Err(error) => {
            assert!(!error.errors.is_empty() && error.to_string().len() < 64 << 10);
            let kickstart = ["ks_cfg", "ks.cfg"].iter().find_map(|key| recipe.get(*key)?.as_str());
            let message = error.to_string();
            assert!(kickstart.is_none_or(|text| text.len() < 64 || !message.contains(text)));
        }
    }
}

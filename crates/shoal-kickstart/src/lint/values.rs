//! Values of single commands: keyboards and licence keys.
//!
//! Whether a key is valid is not known here. Invariant: no message holds a key.

use super::Lint;
use crate::commands::KEYBOARDS;
use crate::rules;
use crate::version::Version;

pub fn check(lint: &mut Lint<'_, '_>) {
    if let Some(command) = lint.command(&["keyboard"]) {
        let named = command.positional().next();
        let span = named.map_or_else(|| command.span(), |arg| arg.word.span.clone());
        if !named.is_some_and(|arg| KEYBOARDS.contains(&arg.word.text.as_str())) {
            lint.report_title(&rules::KEYBOARD_UNKNOWN, &span);
        }
    }
    let Some(command) = lint.command(&["serialnum", "vmserialnum"]) else { return };
    lint.report_title(&rules::SERIAL_MOOT, &command.name.span);
    let key = command.value(&["--esx"]).unwrap_or_default();
    if lint.version < Version::new(9, 0, 0) && !is_key(key) {
        lint.report_title(&rules::SERIAL_FORMAT, &command.span());
    }
}

/// Five groups of five letters and digits.
fn is_key(key: &str) -> bool {
    let is_group = |group: &str| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_alphanumeric());
    key.split('-').count() == 5 && key.split('-').all(is_group)
}

//! Which disks a kickstart erases, in its own words.
//!
//! For questions that a person answers before an installation. Invariant: of a text only commands that choose disks are
//! shown, with the options that the installer knows; never a comment, a password or a script.

use crate::commands;
use crate::syntax::{Command, parse};

const COMMANDS: [&str; 5] = ["install", "installorupgrade", "clearpart", "partition", "part"];

/// The commands that choose disks, in their order. Empty where a script or an included file decides.
pub fn erased(source: &[u8]) -> Vec<String> {
    let file = parse(source);
    let chosen = file.commands().map(|(_, command)| command);
    chosen.filter(|command| COMMANDS.contains(&command.name.text.as_str())).map(shown).collect()
}

fn shown(command: &Command) -> String {
    let spec = commands::find(&command.name.text);
    let known = command.args.iter().filter_map(|arg| {
        let option =
            arg.option.as_deref().filter(|name| spec.is_some_and(|spec| spec.option(name).is_some()))?;
        Some(match arg.value.as_deref() {
            Some(value) => format!(" {option}={value}"),
            None => format!(" {option}"),
        })
    });
    known.fold(command.name.text.clone(), |text, option| text + &option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_that_choose_disks_are_shown() {
        let source = "vmaccepteula\nrootpw planted-secret\n  clearpart --firstdisk=local,usb --overwritevmfs\n\
            install --firstdisk --overwritevmfs --secret=planted-secret # planted-secret\n\
            %pre --interpreter=busybox\ninstall planted-secret\n";
        let shown =
            ["clearpart --firstdisk=local,usb --overwritevmfs", "install --firstdisk --overwritevmfs"];
        assert_eq!(erased(source.as_bytes()), shown);
        assert_eq!(erased(b"%include /tmp/disk\n"), Vec::<String>::new());
    }
}

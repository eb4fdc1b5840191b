//! What the simulated installer makes of a kickstart: accept or refuse it, what its `%post` says,
//! and how it ends.
//!
//! It is not a linter and shares no code with `crate::kickstart`. Source of the rules: the
//! behaviour of the ESXi 6.7 installer and VMware's documentation. Invariant: a refused script has
//! the sentence that the installer's dialog would show.

/// What an accepted kickstart asks for once the disk is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The text of every `%post` that busybox runs, in their order.
    pub posts: Vec<String>,
    /// What holds if no `%post` has gone another way.
    pub ending: Ending,
}

/// How the installer leaves after `%post`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Warm reboot, after every CD drive was ejected unless `--noeject` was given.
    Reboot { eject: bool },
    /// "Press Enter", for ever.
    #[default]
    Wait,
}

/// What `text` asks for, or the error dialog that the installer shows for ever.
///
/// `strict` also wants `rootpw` and a disk, as the real installer does; `disk_in_use` says that a
/// datastore is on the disk, which a strict installer overwrites by an explicit option only.
pub fn parse_kickstart(text: &[u8], strict: bool, disk_in_use: bool) -> Result<Script, String> {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let (commands, posts) = split(&text);
    let find = |names: &[&str]| commands.iter().find(|words| names.contains(&words[0]));
    if find(&["accepteula", "vmaccepteula"]).is_none() {
        return Err("accepteula: the license agreement was not accepted".to_owned());
    }
    let install = find(&["install", "installorupgrade", "upgrade"])
        .ok_or("install: no install, upgrade or installorupgrade command was given")?;
    if strict {
        check_strictly(install, find(&["rootpw"]).is_some(), disk_in_use)?;
    }
    let ending = find(&["reboot"])
        .map_or(Ending::Wait, |words| Ending::Reboot { eject: !words.contains(&"--noeject") });
    Ok(Script { posts, ending })
}

fn check_strictly(install: &[&str], has_rootpw: bool, disk_in_use: bool) -> Result<(), String> {
    let has = |option: &str| install.iter().any(|word| word.split('=').next() == Some(option));
    if !has_rootpw {
        return Err("rootpw: a password is required".to_owned());
    }
    if !["--firstdisk", "--disk", "--drive"].into_iter().any(has) {
        return Err("install: no disk was specified".to_owned());
    }
    if disk_in_use && !has("--overwritevmfs") && !has("--preservevmfs") {
        return Err("install: the disk holds a VMFS partition, and --overwritevmfs was not given".to_owned());
    }
    Ok(())
}

/// The commands before the first section, as words, and every `%post` that busybox runs.
fn split(text: &str) -> (Vec<Vec<&str>>, Vec<String>) {
    const SECTIONS: [&str; 5] = ["%pre", "%post", "%firstboot", "%packages", "%vmlicense_text"];
    let (mut commands, mut posts, mut section) = (vec![], Vec::<String>::new(), None);
    for line in text.lines() {
        if let Some(begun) = SECTIONS.into_iter().find(|name| line.starts_with(name)) {
            let runs = begun == "%post" && !line.contains("--interpreter=python");
            section = Some(runs);
            posts.extend(runs.then(String::new));
        } else if let (Some(true), Some(post)) = (section, posts.last_mut()) {
            post.push_str(line);
            post.push('\n');
        } else if section.is_none() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            commands.extend((!words.is_empty()).then_some(words));
        }
    }
    (commands, posts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ending: Result<Ending, &str>, posts: &[&str]) {
        let found = parse_kickstart(text.as_bytes(), false, false);
        let posts = posts.iter().map(|post| (*post).to_owned()).collect();
        let expected = ending.map(|ending| Script { posts, ending });
        let found = found.map_err(|error| error.split(':').next().unwrap_or_default().to_owned());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn the_end_follows_the_script() {
        let head = "vmaccepteula\ninstall --firstdisk --overwritevmfs\n";
        check(&format!("{head}reboot\n"), Ok(Ending::Reboot { eject: true }), &[]);
        check(&format!("{head}reboot --noeject\r\n"), Ok(Ending::Reboot { eject: false }), &[]);
        check(head, Ok(Ending::Wait), &[]);
    }

    #[test]
    fn the_posts_of_busybox_are_kept_in_their_order() {
        let text = "vmaccepteula\ninstall --firstdisk\n%post\nsync\nhalt\n%post --interpreter=python\nx\n\
                    %firstboot\ny\n%post --interpreter=busybox --ignorefailure=true\r\nz\r\n";
        check(text, Ok(Ending::Wait), &["sync\nhalt\n", "z\n"]);
    }

    #[test]
    fn a_command_after_a_section_belongs_to_the_section() {
        let head = "vmaccepteula\ninstall --firstdisk\n";
        check(&format!("{head}%firstboot\npoweroff\nreboot\n"), Ok(Ending::Wait), &[]);
        check(&format!("{head}%post\ntrue\nreboot\n"), Ok(Ending::Wait), &["true\nreboot\n"]);
        check("%pre\nvmaccepteula\ninstall\n", Err("accepteula"), &[]);
    }

    #[test]
    fn what_stops_the_installer_is_named() {
        check("install --firstdisk\nreboot\n", Err("accepteula"), &[]);
        check("accepteula\n# install\nreboot\n", Err("install"), &[]);
        let strict = |text: &str, in_use| parse_kickstart(text.as_bytes(), true, in_use).is_ok();
        assert!(!strict("accepteula\ninstall --firstdisk\n", false), "rootpw");
        assert!(!strict("accepteula\ninstall\nrootpw x\n", false), "disk");
        assert!(strict("accepteula\ninstall --disk=naa.1\nrootpw x\n", false));
        assert!(!strict("accepteula\ninstall --firstdisk=usb\nrootpw x\n", true), "datastore");
        assert!(strict("accepteula\ninstall --firstdisk --overwritevmfs\nrootpw x\n", true));
    }
}

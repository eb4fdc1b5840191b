//! The kickstart as text: what Shoal adds to one, and only where a recipe asks for it.
//!
//! It does not judge what an operator wrote and changes none of it. Invariant: a kickstart with a
//! hook begins with the operator's bytes, and what follows is one section that can fail without
//! failing the installation.
//!
//! What ESXi's installer offers a `%post` (facts of the field: HPE, packer-maas and testrange power
//! off there; `esxcli` needs hostd, which does not run; `localcli` and Python do): the CD that the
//! kickstart came from is still mounted, the disk is written, the network is that of the kickstart.

/// What the added section does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook<'a> {
    /// Reads the file of this name at the root of every mounted CD, and powers the host off.
    Poweroff { nonce_name: &'a str },
    /// Calls this URL, which has no character that a shell minds.
    Webhook { url: &'a str },
}

const SECTION: &str = "%post --interpreter=busybox --ignorefailure=true";

/// `kickstart`, and behind it the section of `hook`.
pub fn render_with_hook(kickstart: &str, hook: Hook<'_>) -> String {
    let newline = if kickstart.ends_with('\n') { "" } else { "\n" };
    let script = match hook {
        Hook::Poweroff { nonce_name } => poweroff(nonce_name),
        Hook::Webhook { url } => webhook(url),
    };
    format!("{kickstart}{newline}{SECTION}\n{script}")
}

/// `-n` is what HPE's service uses, `-f` testrange: a poweroff that waits for the init system hangs.
fn poweroff(nonce_name: &str) -> String {
    format!(
        "# Added by Shoal for completion_hook poweroff.\n\
         for nonce in /vmfs/volumes/*/{nonce_name}; do cat \"$nonce\" >/dev/null 2>&1; done\n\
         /bin/poweroff -n || /bin/poweroff -f || /bin/halt\n"
    )
}

/// The firewall of the installer lets only its own downloads out. Python takes any certificate,
/// which busybox's wget does not on every version.
fn webhook(url: &str) -> String {
    const CALL: &str = "import ssl, sys, urllib.request as r; \
        r.urlopen(sys.argv[1], b\"{}\", 30, context=ssl._create_unverified_context())";
    format!(
        "# Added by Shoal for completion_hook webhook.\n\
         url='{url}'\n\
         localcli network firewall set --enabled false >/dev/null 2>&1\n\
         python -c '{CALL}' \"$url\" >/dev/null 2>&1 || wget -q -T 30 -O /dev/null \"$url\" >/dev/null 2>&1\n\
         localcli network firewall set --enabled true >/dev/null 2>&1\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_text_comes_first_and_unchanged() {
        for text in ["vmaccepteula\nreboot\n", "vmaccepteula\nreboot", "a\r\n%firstboot\nb\r\n", "é"] {
            for hook in [Hook::Poweroff { nonce_name: "N" }, Hook::Webhook { url: "http://h/x" }] {
                let rendered = render_with_hook(text, hook);
                let added = rendered.strip_prefix(text).unwrap();
                assert!(added.trim_start_matches('\n').starts_with("%post --interpreter=busybox --ignore"));
                assert!(rendered.contains(&format!("\n{SECTION}\n")), "{rendered}");
            }
        }
    }

    #[test]
    fn the_sections_do_what_they_say() {
        let off = render_with_hook("", Hook::Poweroff { nonce_name: "NONCE.TXT" });
        assert!(off.contains("/vmfs/volumes/*/NONCE.TXT") && off.ends_with("|| /bin/halt\n"), "{off}");
        let call = render_with_hook("", Hook::Webhook { url: "https://10.0.0.1/x/y" });
        assert!(call.contains("url='https://10.0.0.1/x/y'\n") && call.contains("\"$url\""), "{call}");
    }

    /// A shell that reads the sections without running them finds no fault.
    #[test]
    fn the_sections_are_shell() {
        for hook in [Hook::Poweroff { nonce_name: "NONCE.TXT" }, Hook::Webhook { url: "http://h/x" }] {
            let text = render_with_hook("", hook);
            let script = text.split_once(SECTION).unwrap().1;
            let shell = std::process::Command::new("sh").args(["-n", "-c", script]).output().unwrap();
            assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
        }
    }
}

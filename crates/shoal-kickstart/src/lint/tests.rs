//! The linter over texts of several lines: what belongs together, what is silenced, what is never said.

use proptest::prelude::*;

use super::*;
use crate::sample::{GOOD, kickstartish};

fn ids(text: &str) -> Vec<&'static str> {
    ids_with(text, Options::default())
}

fn ids_with(text: &str, options: Options) -> Vec<&'static str> {
    lint(text.as_bytes(), options).found.iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn a_good_text_has_no_finding() {
    for version in ["6.7", "7.0", "8.0.3", "9.0"] {
        let options = Options { version: version.parse().ok(), hook: Hook::None };
        assert!(ids_with(GOOD, options).is_empty(), "{version}");
    }
    assert!(ids(&GOOD.replace('\n', "\r\n")).is_empty());
}

#[test]
fn a_hook_that_powers_off_needs_no_reboot() {
    let text = GOOD.replace("reboot\n", "");
    assert_eq!(ids(&text), ["KS070"]);
    for (hook, expected) in
        [(Hook::Webhook, vec!["KS070"]), (Hook::Poweroff, vec![]), (Hook::OwnPoweroff, vec!["KS081"])]
    {
        assert_eq!(ids_with(&text, Options { version: None, hook }), expected, "{hook:?}");
    }
}

#[test]
fn a_reboot_inside_a_section_is_marked_there() {
    let text = format!("{}%firstboot --interpreter=busybox\nsync\nreboot\n", GOOD.replace("reboot\n", ""));
    let found = lint(text.as_bytes(), Options::default()).found;
    let finding = found.iter().find(|finding| finding.rule.id == "KS070").unwrap();
    assert_eq!((finding.line, &text[finding.span.clone()]), (7, "reboot"));
}

#[test]
fn what_a_pre_writes_and_an_include_reads_is_not_missing() {
    let text = "%include /tmp/all.cfg\n%pre --interpreter=busybox\nwget -O /tmp/all.cfg http://10.0.0.1/ks\n";
    assert!(ids(text).is_empty(), "{:?}", ids(text));
    assert!(ids("%include http://10.0.0.1/ks.cfg\n").is_empty());
    assert_eq!(ids("%include /tmp/other.cfg\n"), ["KS029"]);
    assert_eq!(ids("%include ./MORE.CFG\n"), ["KS029"]);
}

/// A kickstart whose commands a `%pre` writes to `/tmp/all.cfg`.
fn written_by(script: &str) -> String {
    format!("vmaccepteula\n%include /tmp/all.cfg\n%pre --interpreter=busybox\n{script}")
}

#[test]
fn what_a_pre_writes_literally_is_judged() {
    let rest: String = GOOD.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let quoted = written_by(&format!("cat > /tmp/all.cfg <<'EOF'\n{rest}EOF\n"));
    assert!(ids(&quoted).is_empty(), "{:?}", ids(&quoted));
    assert_eq!(ids(&quoted.replace("reboot\n", "")), ["KS070"]);
    assert_eq!(ids(&quoted.replace("--disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 ", "")), ["KS040"]);
    let text = quoted.replace("--gateway=10.0.0.1", "--gateway=10.9.0.1");
    let found = lint(text.as_bytes(), Options::default()).found;
    let finding = found.first().unwrap();
    assert_eq!(
        (finding.rule.id, finding.line, &text[finding.span.clone()]),
        ("KS064", 7, "--gateway=10.9.0.1")
    );
    let echoed: String = rest.lines().map(|line| format!("echo '{line}' >> /tmp/all.cfg\n")).collect();
    assert!(ids(&written_by(&echoed)).is_empty(), "{:?}", ids(&written_by(&echoed)));
    assert_eq!(ids(&written_by(&echoed.replace("'reboot' >>", "reboot >"))), ["KS021", "KS030", "KS060"]);
    assert_eq!(
        ids(&written_by("cat <<'EOF' > /tmp/all.cfg\nrootpw 'open\nEOF\n")),
        ["KS021", "KS030", "KS060", "KS070", "KS003"]
    );
}

/// A line that the shell expands has its command, and no value is known; what is written otherwise is not known.
#[test]
fn what_a_pre_writes_by_other_means_is_neither_judged_nor_missing() {
    let rest = "rootpw q7X!mzr0T\ninstall --firstdisk=$disk --overwritevmfs\nnetwork --bootproto=static --device=$mac --ip=$ip\nreboot\n";
    let expanded = written_by(&format!("cat > /tmp/all.cfg <<EOF\n{rest}EOF\n"));
    assert_eq!(ids(&expanded), ["KS038"]);
    assert_eq!(ids(&expanded.replace("reboot\n", "")), ["KS070", "KS038"]);
    for script in [
        "F=/tmp/all.cfg\necho x > $F\n",
        "cat > /tmp/all.cfg <<EOF\n$ALL\nEOF\n",
        "if true; then\n  echo 'keyboard x' > /tmp/all.cfg\nfi\n",
        "echo 'keyboard x' | sed s/x/y/ > /tmp/all.cfg\n",
        "cp /vmfs/volumes/x/all.cfg /tmp/all.cfg\n",
        "echo -e 'a\\nb' > /tmp/all.cfg\n",
        "echo 'include /tmp/b.cfg' > /tmp/all.cfg\n",
    ] {
        assert!(ids(&written_by(script)).is_empty(), "{script}: {:?}", ids(&written_by(script)));
    }
    let python = written_by("f.write('/tmp/all.cfg')\n").replace("busybox", "python");
    assert!(ids(&python).is_empty(), "{:?}", ids(&python));
}

#[test]
fn no_command_behind_the_256th_is_judged() {
    let text = "keyboard German\n".repeat(256) + "keyboard x\nkeyboard y\n";
    let found = lint(text.as_bytes(), Options::default()).found;
    assert!(found.iter().all(|finding| finding.line <= 257 || finding.span.is_empty()), "{found:?}");
    assert!(found.iter().any(|finding| finding.rule.id == "KS005" && finding.line == 257));
}

#[test]
fn an_unrendered_template_has_one_breaking_finding() {
    let text = "vmaccepteula\nrootpw {{ root_password }}\ninstall {{ disk }}\n{% if vlan %}\nnetwork --bootproto=static --ip={{ ip }} --vlanid={{ vlan }}\n{% endif %}\n";
    assert_eq!(ids(text), ["KS006"]);
    let erb = "vmaccepteula\nrootpw --iscrypted <%= root_pass %>\n<% if dhcp %>\nnetwork --bootproto=dhcp --device=94:40:c9:00:00:01\n<% end %>\n";
    assert_eq!(ids(erb), ["KS006"]);
    let cobbler = "vmaccepteula\nrootpw --iscrypted $default_password_crypted\n$SNIPPET('network_config')\n";
    assert_eq!(ids(cobbler), ["KS006"]);
    for value in ["$ip", "${ip}", "<IP>", "@@IP@@", "__IP__", "%IP%"] {
        let text = GOOD.replace("10.0.0.11", value);
        assert_eq!(ids(&text), ["KS006"], "{value}");
    }
}

#[test]
fn a_hash_is_no_placeholder_and_a_comment_may_hold_one() {
    assert!(ids(&format!("# {{{{ ansible_managed }}}}\n{GOOD}")).is_empty());
}

#[test]
fn a_static_address_on_a_continued_line_breaks_and_a_vlan_there_is_lost() {
    let address =
        "network --bootproto=static --device=94:40:c9:00:00:01 \\\n --ip=10.0.0.11 --netmask=255.255.255.0\n";
    let text = format!("{}{address}", GOOD.replace(GOOD.lines().nth(3).unwrap(), "# none"));
    assert_eq!(ids(&text), ["KS062", "KS004"]);
    let text = text.replace("static", "dhcp").replace("--ip=10.0.0.11 --netmask=255.255.255.0", "--vlanid=2");
    assert_eq!(ids(&text), ["KS004"]);
}

#[test]
fn a_remark_silences_one_rule_and_says_so() {
    let text = format!("# shoal: allow KS070 the console is watched\n{}", GOOD.replace("reboot\n", ""));
    let findings = lint(text.as_bytes(), Options::default());
    assert!(findings.found.is_empty() && !findings.breaks());
    assert_eq!(findings.allowed[0].finding.rule.id, "KS070");
    assert_eq!(findings.allowed[0].reason, "the console is watched");
    assert_eq!(ids(&format!("# shoal: allow KS070 x\n{GOOD}")), ["KS009"]);
    assert_eq!(ids(&format!("# shoal: allow KS070\n{GOOD}")), ["KS008"]);
    assert_eq!(ids(&format!("# shoal: allow KS999 x\n{GOOD}")), ["KS008"]);
}

#[test]
fn scripts_that_are_written_by_scripts_are_not_judged() {
    let post = "%post --interpreter=busybox\ncat > /etc/rc.local.d/local.sh <<'EOF'\nesxcli x\nreboot\n%end\nEOF\nif true; then\n  exit 1\nfi\nexit 0\nesxcli y\n%end\n";
    assert_eq!(ids(&format!("{GOOD}{post}")), ["KS086"]);
}

#[test]
fn a_section_with_all_its_faults_has_each_once() {
    let post = "%post\nesxcli a\npoweroff -f\n";
    assert_eq!(ids(&format!("{GOOD}{post}")), ["KS082", "KS093", "KS080"]);
    let own = Options { version: None, hook: Hook::OwnPoweroff };
    assert_eq!(ids_with(&format!("{GOOD}{post}"), own), ["KS082", "KS093"]);
}

#[test]
fn a_line_has_a_bounded_number_of_findings_and_keeps_the_worst() {
    let text = format!("install {}--overwritevmfs\n", "--x ".repeat(500));
    let found = lint(text.as_bytes(), Options::default()).found;
    let of_line: Vec<_> = found.iter().filter(|finding| !finding.span.is_empty()).collect();
    assert!(of_line.len() <= FINDINGS_OF_A_LINE_MAX, "{}", of_line.len());
    assert!(of_line.iter().any(|finding| finding.rule.id == "KS040"), "{of_line:?}");
}

#[test]
fn messages_quote_no_secret() {
    let secrets = "rootpw Hunter2 --Hunter2 Hunter2\nHunter2 Hunter2\nserialnum --esx=Hunter2\nrootpw \\\nHunter2\nrootpw 'Hunter2\nkeyboard Hunter2\n";
    let findings = lint(secrets.as_bytes(), Options::default());
    assert!(findings.found.len() > 8);
    for finding in &findings.found {
        assert!(!finding.message.contains("Hunter2"), "{}: {}", finding.rule.id, finding.message);
    }
}

fn holds(bytes: &[u8]) {
    for (version, hook) in [("6.7", Hook::None), ("9.0", Hook::OwnPoweroff)] {
        let findings = lint(bytes, Options { version: version.parse().ok(), hook });
        let lines = bytes.split(|byte| *byte == b'\n').count();
        for finding in &findings.found {
            assert!(finding.span.start <= finding.span.end && finding.span.end <= bytes.len(), "{finding:?}");
            assert!((1..=lines).contains(&finding.line) && finding.column >= 1, "{finding:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        holds(&bytes);
    }

    #[test]
    fn near_kickstarts_are_judged(text in kickstartish()) {
        holds(text.as_bytes());
    }
}

#[test]
fn a_byte_order_mark_is_named() {
    let text = ["\u{feff}", GOOD].concat();
    let found = lint(text.as_bytes(), Options::default()).found;
    let first = found.iter().find(|finding| finding.rule.id == "KS010").unwrap();
    assert!(first.message.contains("byte order mark"), "{first:?}");
}

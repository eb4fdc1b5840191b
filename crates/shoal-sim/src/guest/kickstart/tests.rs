//! Kickstarts and what the installer does with them, a rule a row.
//!
//! Passwords and hashes are tested in `password.rs`. Invariant: each row differs from one that
//! installs by what it is about.

use super::*;
use crate::machine::InstalledSystem;

/// Everything that a strict installer asks for.
const HEAD: &str = "vmaccepteula\nrootpw VMware1!\nnetwork --bootproto=dhcp\n";

fn parse(text: &str, strict: bool, disk: &Disk, files: &[(&str, Option<&str>)]) -> Parsed {
    let file = |(path, content): &(&str, Option<&str>)| {
        ((*path).to_owned(), content.map(|content| content.as_bytes().to_vec()))
    };
    let files = files.iter().map(file).collect();
    parse_kickstart(&KickstartSource { text: text.as_bytes(), path: "/KS.CFG", files: &files, strict, disk })
}

/// In words: the dialog, what is warned of, how it ends.
fn shown(parsed: Parsed) -> String {
    match parsed {
        Parsed::Wants(path) => format!("wants {path}"),
        Parsed::Refused(dialog) => format!("dialog: {dialog}"),
        Parsed::Accepted(KickstartScript { is_dry_run: true, .. }) => "installs nothing".to_owned(),
        Parsed::Accepted(script) => {
            let warnings: Vec<String> = script.warnings.iter().map(|text| format!("[{text}] ")).collect();
            let fails = script.posts.iter().find_map(|post| post.failure.clone());
            let fails = fails.map_or(String::new(), |why| format!(", %post fails: {why}"));
            let ending = match script.ending {
                InstallEnding::Wait => "waits",
                InstallEnding::Reboot { eject: true } => "reboots",
                InstallEnding::Reboot { eject: false } => "reboots with its media",
            };
            format!("{}{ending}{fails}", warnings.concat())
        }
    }
}

fn esxi() -> Disk {
    let esxi = InstalledSystem { version: "8.0.2".to_owned(), build: "1".to_owned() };
    Disk::OtherSystem(Some(esxi))
}

/// `expected` is a part of what a strict installer with a blank disk does, or all of it without `…`.
fn check_on(disk: &Disk, text: &str, expected: &str) {
    let shown = shown(parse(text, true, disk, &[]));
    let fits = expected.strip_suffix('…').map_or(shown == expected, |part| shown.contains(part));
    assert!(fits, "{text}\n does: {shown}\nnot: {expected}");
}

fn check(text: &str, expected: &str) {
    check_on(&Disk::Blank, text, expected);
}

/// A command line after everything else that is needed.
fn line(line: &str, expected: &str) {
    check(&format!("{HEAD}install --firstdisk\nreboot\n{line}\n"), expected);
}

/// The line that installs, on a disk.
fn install(disk: &Disk, line: &str, expected: &str) {
    check_on(disk, &format!("{HEAD}{line}\nreboot\n"), expected);
}

fn net(options: &str, expected: &str) {
    check(
        &format!("vmaccepteula\nrootpw VMware1!\ninstall --firstdisk\nnetwork {options}\nreboot\n"),
        expected,
    );
}

#[test]
fn what_is_needed_is_asked_for() {
    check(&format!("{HEAD}install --firstdisk\nreboot\n"), "reboots");
    check(&format!("{HEAD}install --firstdisk\nreboot --noeject\r\n"), "reboots with its media");
    check(&format!("{HEAD}install --firstdisk\n"), "waits");
    check("rootpw VMware1!\ninstall --firstdisk\nreboot\n", "dialog: vmaccepteula was not specified…");
    check("accepteula\ninstall --firstdisk\nreboot\n", "dialog: rootpw was not specified…");
    check("accepteula\nrootpw VMware1!\n# install --firstdisk\nreboot\n", "dialog: install: no install…");
    check("accepteula\nrootpw VMware1!\ninstall --firstdisk\nreboot\n", "[network was not specified…");
    check("accepteula\nrootpw\ninstall --firstdisk\n", "dialog: rootpw: no password was given");
    check("accepteula\nrootpw vagrant\ninstall --firstdisk\n", "dialog: rootpw: the password is too weak…");
    check(
        "accepteula\nrootpw --iscrypted $5$a$b\ninstall --firstdisk\n",
        "dialog: rootpw: the crypted password is not valid",
    );
}

#[test]
fn a_lenient_installer_asks_for_the_licence_and_an_action_alone() {
    let lenient = |text: &str| shown(parse(text, false, &esxi(), &[]));
    assert_eq!(lenient("vmaccepteula\ninstall\nreboot\n"), "reboots");
    assert_eq!(lenient("vmaccepteula\ninstall --x 'y\nfoo\nreboot\n%post\nfalse\n"), "reboots");
    assert!(lenient("install --firstdisk\nreboot\n").contains("vmaccepteula"));
    assert!(lenient("accepteula\nreboot\n").contains("no install, upgrade"));
    assert!(lenient("accepteula\ninstall\nupgrade\n").contains("cannot be used together"));
    assert_eq!(lenient("accepteula\ninstall\ndryrun\n"), "installs nothing");
    assert!(lenient("accepteula\ninstall\n%include /none\n").contains("cannot open the file /none"));
}

#[test]
fn one_command_installs() {
    for (pair, expected) in [
        ("install --firstdisk\nupgrade --firstdisk", "upgrade: it cannot be used together with install"),
        (
            "installorupgrade --firstdisk\ninstall --firstdisk",
            "install: it cannot be used together with installorupgrade",
        ),
        ("install --firstdisk\ninstall --firstdisk", "install: the command may be given only once"),
    ] {
        check(&format!("{HEAD}{pair}\nreboot\n"), &format!("dialog: {expected}"));
    }
}

#[test]
fn disks_are_found_and_spared() {
    let (blank, esxi) = (&Disk::Blank, &esxi());
    for good in [
        "install --disk=naa.600508b1001c",
        "install --drive=/vmfs/devices/disks/t10.NVMe____X",
        "install --disk=mpx.vmhba0:C0:T0:L0 --systemDisk=naa.1",
        "install --firstdisk=\"DELLBOSS VD\",local",
        "install --firstdisk --ignoressd",
        "installorupgrade --firstdisk",
    ] {
        install(blank, good, "reboots");
    }
    for (bad, expected) in [
        ("install", "no disk was specified"),
        ("install --overwritevmfs", "no disk was specified"),
        ("install --disk=/dev/sda", "the disk \"/dev/sda\" was not found"),
        ("install --disk", "was not found"),
        ("install --disk=naa.1 --firstdisk", "only one disk option may be given"),
        ("install --firstdisk --firstdisk=usb", "only one disk option may be given"),
        ("install --firstdisk=esx,localesx", "no disk was found for --firstdisk=esx,localesx"),
        ("install --firstdisk=\"DELLBOSS VD\" --ignoressd", "no disk was found"),
        ("install --disk=naa.1 --ignoressd", "--ignoressd can only be used with --firstdisk"),
        ("installorupgrade --firstdisk --ignoressd", "--ignoressd is not supported"),
        ("install --firstdisk --overwritevsan", "not claimed by vSAN"),
        ("upgrade --firstdisk", "no ESXi was found on the disk"),
    ] {
        install(blank, bad, &format!("{expected}…"));
        let Parsed::Refused(_) = parse(&format!("{HEAD}{bad}\n"), true, blank, &[]) else { panic!("{bad}") };
    }
    install(esxi, "install --firstdisk", "dialog: install: the disk holds a VMFS partition…");
    install(
        esxi,
        "install --firstdisk --novmfsondisk",
        "dialog: install: --novmfsondisk needs --overwritevmfs…",
    );
    install(
        esxi,
        "install --firstdisk --novmfsondisk --preservevmfs",
        "dialog: install: --novmfsondisk needs…",
    );
    for good in [
        "--overwritevmfs",
        "--preservevmfs",
        "--preservevmfs --overwritevmfs",
        "--overwritevmfs --novmfsondisk",
    ] {
        install(esxi, &format!("install --firstdisk {good}"), "reboots");
    }
    install(esxi, "install --firstdisk=esx --overwritevmfs", "reboots");
    install(esxi, "installorupgrade --firstdisk", "reboots");
    install(
        esxi,
        "installorupgrade --firstdisk --preservevmfs",
        "[installorupgrade: unknown argument \"--preservevmfs\"…",
    );
    install(blank, "install cdrom --firstdisk", "[install: deprecated argument \"cdrom\"…");
    install(
        blank,
        "install --firstdisk --ignoressd --ignoressd",
        "[install: the option --ignoressd is repeated…",
    );
    install(blank, "install --firstdisk \\", "[install: unknown argument \"\\n\"] reboots");
}

#[test]
fn an_upgrade_takes_what_is_there() {
    check_on(&esxi(), "vmaccepteula\nupgrade --firstdisk --savebootbank\nreboot\n", "reboots");
    check_on(
        &esxi(),
        "vmaccepteula\nrootpw x\nupgrade --disk=naa.1\nreboot\n",
        "[rootpw: it is ignored by an upgrade] reboots",
    );
    check_on(&esxi(), "vmaccepteula\nnetwork --ip=x\nupgrade --disk=naa.1\n", "[network: it is ignored…");
    check_on(&esxi(), "vmaccepteula\nkeyboard x\nupgrade --disk=naa.1\n", "[keyboard: it is ignored…");
    check_on(
        &esxi(),
        "vmaccepteula\nupgrade --disk=naa.1\nclearpart --alldrives\n",
        "dialog: clearpart: it cannot be used with upgrade",
    );
    check_on(
        &esxi(),
        "vmaccepteula\nupgrade --disk=naa.1\npart a --ondisk=naa.2\n",
        "dialog: part: it cannot be used with upgrade",
    );
}

#[test]
fn partitions_are_cleared_and_made() {
    for good in [
        "clearpart --alldrives",
        "clearpart --all --ignoredrives=naa.1",
        "clearpart --firstdisk=local\nclearpart --drives=naa.2,eui.3",
        "part data --ondisk=naa.2\npartition more --ondrive=naa.3",
    ] {
        line(good, "reboots");
    }
    for (bad, expected) in [
        ("clearpart", "clearpart: no drives were specified"),
        ("clearpart --overwritevmfs", "clearpart: no drives were specified"),
        ("clearpart --firstdisk --alldrives", "clearpart: only one of its drive options may be given"),
        ("clearpart --drives=naa.2,sdb", "clearpart: the disk \"sdb\" was not found"),
        ("part", "part: no datastore name was given"),
        ("part data", "part: no disk was specified"),
        ("part data --ondisk=naa.2 --onfirstdisk=usb", "part: only one disk option may be given"),
        ("part data --ondisk=sdb", "part: the disk \"sdb\" was not found"),
        ("part data --onfirstdisk", "part: the disk is the one that ESXi is installed on"),
        ("part data --ondisk=naa.2\npart data --ondisk=naa.3", "part: the datastore \"data\" exists"),
    ] {
        line(bad, &format!("dialog: {expected}"));
    }
    line("clearpart --alldrives --initlabel", "[clearpart: --initlabel is deprecated] reboots");
    line(
        "part data --ondisk=naa.2 --size=1 --grow",
        "[part: --size is deprecated; part: --grow is deprecated] reboots",
    );
    let same = format!("{HEAD}install --disk=naa.1\npart data --ondisk=/vmfs/devices/disks/naa.1\n");
    check(&same, "dialog: part: the disk is the one that ESXi is installed on");
    let clear =
        |option: &str| format!("{HEAD}clearpart {option}\ninstall --firstdisk --overwritevmfs\nreboot\n");
    check_on(&esxi(), &clear("--alldrives"), "dialog: clearpart: a disk holds a VMFS partition…");
    check_on(&esxi(), &clear("--alldrives --overwritevmfs"), "reboots");
    check_on(&esxi(), &clear("--ignoredrives=naa.1"), "reboots");
}

#[test]
fn addresses_fit_each_other() {
    let fixed = "--bootproto=static --ip=10.1.2.3 --netmask=255.255.255.0 --gateway=10.1.2.1";
    for good in [
        "--bootproto=dhcp --device=vmnic0",
        "--bootproto=dhcp --device=00:1b:21:aa:BB:cc --vlanid=4095 --addvmportgroup=0",
        fixed,
        &format!("{fixed} --hostname=1-esx.example.com --nameserver=10.0.0.1,10.0.0.2"),
        "--bootproto=static --ip=10.0.0.0 --netmask=255.255.255.254 --gateway=10.0.0.1",
    ] {
        net(good, "reboots");
    }
    for (bad, expected) in [
        ("--ip=10.1.2.3", "--ip cannot be used with --bootproto=dhcp"),
        ("--bootproto=dhcp --netmask=255.0.0.0", "--netmask cannot be used"),
        ("--bootproto=dhcp --gateway=10.1.2.1", "--gateway cannot be used"),
        ("--bootproto=none --ip=10.1.2.3", "--ip cannot be used"),
        ("--bootproto=static --gateway=10.1.2.1", "--bootproto=static needs --ip"),
        ("--bootproto=static --ip=10.1.2.300", "--ip \"10.1.2.300\" is not a valid address"),
        ("--bootproto=static --ip={{ ip }}", "--ip \"{{\" is not a valid address"),
        ("--bootproto=static --ip=10.1.2.3 --netmask=255.0.255.0", "the netmask 255.0.255.0 is not valid"),
        ("--bootproto=static --ip=10.1.2.3 --netmask=24", "--netmask \"24\" is not a valid address"),
        (
            "--bootproto=static --ip=10.1.2.3 --netmask=255.255.255.0 --gateway=10.1.3.1",
            "is not in the subnet of 10.1.2.3/24",
        ),
        ("--bootproto=static --ip=10.1.2.0 --netmask=255.255.255.0", "is the network or broadcast address"),
        ("--bootproto=static --ip=10.1.2.255 --netmask=255.255.255.0", "is the network or broadcast address"),
        (
            "--bootproto=static --ip=10.1.2.3 --netmask=255.255.255.0 --gateway=10.1.2.255",
            "--gateway 10.1.2.255 is the",
        ),
        (&format!("{fixed} --nameserver=10.0.0.1, 10.0.0.2"), "--nameserver \"\" is not a valid address"),
        (&format!("{fixed} --nameserver=\"10.0.0.1, 10.0.0.2\""), "--nameserver \" 10.0.0.2\" is not"),
        (&format!("{fixed} --hostname=esx_1"), "--hostname \"esx_1\" is not a valid host name"),
        (&format!("{fixed} --hostname=-esx"), "is not a valid host name"),
        ("--bootproto=dhcp --device=eth0", "the device \"eth0\" was not found"),
        ("--bootproto=dhcp --vlanid=4096", "--vlanid \"4096\" is not from 0 to 4095"),
        ("--bootproto=static \\\n--ip=10.1.2.3", "--bootproto=static needs --ip"),
    ] {
        net(bad, &format!("{expected}…"));
        net(bad, "dialog: network: …");
    }
    net(
        "--bootproto=static --ip=10.1.2.3",
        "[network: --netmask is missing and was guessed; network: --gateway is missing and was guessed] reboots",
    );
    net("--bootproto=dhcp --hostname=a", "[network: --hostname is ignored with --bootproto=dhcp] reboots");
    net("--bootproto=foo", "[network: unknown --bootproto \"foo\", DHCP is used] reboots");
    net("--bootproto=dhcp --addvmportgroup=yes", "--addvmportgroup=\"yes\" is neither…");
    net("--bootproto=dhcp --onboot=yes", "[network: unknown argument \"--onboot=yes\"] reboots");
    // With `--ip` on its first line the rest of a continued line is lost without a dialog.
    net("--bootproto=static --ip=10.1.2.3 \\\n--netmask=255.255.255.0 --gateway=10.9.9.9", "reboots…");
}

#[test]
fn small_commands_warn_or_stop() {
    line("keyboard 'US Default'", "reboots");
    line(
        "keyboard US Default",
        "[keyboard: unknown argument \"Default\"; keyboard: unknown layout \"US\", US Default is used] reboots",
    );
    line("serialnum --esx=AAAAA-BBBBB-CCCCC-DDDDD-00000", "reboots");
    line("vmserialnum --esx=AAAAA-BBBBB", "dialog: vmserialnum: the key is not valid");
    line("serialnum AAAAA", "dialog: serialnum: --esx was not given…");
    line("timezone UTC", "[timezone is not supported] reboots");
    line("formatwithmbr", "[unknown command \"formatwithmbr\"] reboots");
    line("Reboot", "[unknown command \"Reboot\"] reboots");
    line("reboot --noeject", "[reboot is repeated, and the last one holds] reboots with its media");
    line("paranoid", "reboots");
    line("paranoid\nskipx", "dialog: paranoid: skipx is not supported");
    line("dryrun", "installs nothing");
    line("partitionembed", "reboots");
    line("keyboard \"Swiss", "dialog: line 6: No closing quotation");
    line("keyboard Türkçe", "[line 6: it has characters that are not ASCII; keyboard: unknown…");
    line("# Größe", "reboots");
    line(&"paranoid\n".repeat(252), "dialog: the script has more than 256 commands");
    let undecodable = [HEAD.as_bytes(), b"install --firstdisk\n%post\n# \xff\n"].concat();
    let files = BTreeMap::new();
    let source = KickstartSource {
        text: &undecodable,
        path: "/KS.CFG",
        files: &files,
        strict: true,
        disk: &Disk::Blank,
    };
    assert!(shown(parse_kickstart(&source)).starts_with("dialog: /KS.CFG cannot be decoded"));
    // Of a comment in the middle of a password only the rest is lost, and no word of it is shown.
    check("vmaccepteula\nrootpw VM#ware1!\ninstall --firstdisk\n", "dialog: rootpw: the password must have…");
    check(
        "vmaccepteula\nrootpw VMware1! sEcret\nnetwork\ninstall --firstdisk\n",
        "[rootpw: it has arguments that are not known] waits",
    );
    let hash = format!("rootpw $6$a${} --iscrypted", "b".repeat(86));
    check(
        &format!("vmaccepteula\n{hash}\nnetwork\ninstall --firstdisk\n"),
        "[rootpw: --iscrypted stands behind the password] waits",
    );
}

#[test]
fn sections_begin_and_end_where_the_installer_says() {
    let head = format!("{HEAD}install --firstdisk\n");
    let post = "%post --interpreter=busybox";
    check(&format!("{head}{post}\ntrue\nreboot\n"), "waits");
    check(&format!("{head}  %firstboot --interpreter=busybox\ntrue\nreboot\n"), "waits");
    check(&format!("{head}{post}\n  %firstboot --interpreter=busybox\nreboot\n"), "waits");
    check(
        &format!("{head}reboot\n{post}\n%pre --interpreter=busybox\n"),
        "reboots, %post fails: %pre: not found",
    );
    check(
        &format!("{head}{post}\ntrue\n%include /none\nreboot\n"),
        "dialog: include: cannot open the file /none",
    );
    check(&format!("{head}{post}\ntrue\nincluded=1\nreboot\n"), "[unknown command \"included=1\"] reboots");
    check(
        &format!("{head}reboot\n{post}\ntrue\n%include /none\n"),
        "reboots, %post fails: %include: not found",
    );
    check(
        &format!("{head}reboot\n%packages\na\n%vmlicense_text\nb\n"),
        "[%packages is not supported any more; %vmlicense_text…",
    );
    check(
        &format!("{head}reboot\n%post\ntrue\n"),
        "[%post: no --interpreter was given, busybox is used] reboots",
    );
    check(
        &format!("{head}reboot\n%post --interpreter=bash\ntrue\n"),
        "dialog: %post: unknown interpreter \"bash\"",
    );
    check(
        &format!("{head}reboot\n%post --interpreter=busybox --erroronfail\ntrue\n"),
        "[%post: unknown argument…",
    );
    check("%pre --interpreter=busybox\nvmaccepteula\ninstall\n", "dialog: vmaccepteula was not specified…");
}

#[test]
fn scripts_that_fail_stop_the_installer() {
    let head = format!("{HEAD}install --firstdisk\nreboot\n");
    check(
        &format!("{head}%pre --interpreter=busybox\nexit 1\n"),
        "dialog: %pre: the script has failed: exit 1",
    );
    check(
        &format!("{head}%pre --interpreter=busybox\nesxcli system version get\n"),
        "dialog: %pre: the script has failed: esxcli…",
    );
    check(&format!("{head}%pre --interpreter=busybox\nesxcli a || true\n"), "reboots");
    check(
        &format!("{head}%post --interpreter=busybox\nsync\n%end\n"),
        "reboots, %post fails: %end: not found",
    );
    check(&format!("{head}%post --interpreter=busybox --ignorefailure=true\n%end\n"), "reboots");
    check(&format!("{head}%post --interpreter=python\nsys.exit(1)\n"), "reboots");
}

#[test]
fn posts_of_busybox_are_kept_in_their_order() {
    let text = "vmaccepteula\ninstall --firstdisk\n%post\nsync\nhalt\n%post --interpreter=python\nx\n\
                %firstboot\ny\n%post --interpreter=busybox --ignorefailure=true\r\nz\r\n";
    let Parsed::Accepted(script) = parse(text, false, &Disk::Blank, &[]) else { panic!() };
    let posts: Vec<&str> = script.posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!(posts, ["sync\nhalt\n", "z\n"]);
}

#[test]
fn what_a_pre_writes_can_be_included() {
    let head = "vmaccepteula\ninstall --firstdisk\n%include /tmp/more\n";
    let pre = "%pre --interpreter=busybox\n";
    let echo = "echo 'rootpw VMware1!' > /tmp/more\necho network --bootproto=dhcp >> /tmp/more\n";
    check(&format!("{head}reboot\n{pre}{echo}"), "reboots");
    check(&format!("{head}{pre}{echo}echo reboot >> /tmp/more\n"), "reboots");
    check(
        &format!("{head}reboot\n{pre}echo 'rootpw weak' > /tmp/more\n"),
        "dialog: rootpw: the password must…",
    );
    let document = "cat > /tmp/more <<EOF\nrootpw VMware1!\nnetwork --bootproto=static --ip=$IP\nEOF\n";
    check(&format!("{head}reboot\n{pre}IP=10.0.0.999\n{document}"), "dialog: network: --ip \"10.0.0.999\"…");
    check(&format!("{head}reboot\n{pre}IP=$(hwinfo | awk 1)\n{document}"), "[network: --netmask is missing…");
    check(
        &format!("{head}reboot\n{pre}IP=\n{document}"),
        "dialog: network: --ip \"\" is not a valid address",
    );
    // A file that the installer's own system writes, or whose content is not known.
    check(&format!("{head}reboot\n{pre}wget -O /tmp/more http://a.test/ks\n"), "reboots");
    check(&format!("%include /tmp/all\n{pre}sed s/x/y/ /etc/ks > /tmp/all\n"), "waits");
    let python = "%pre --interpreter=python\nopen('/tmp/more', 'w').write('rootpw VMware1!\\nnetwork\\n')\n";
    check(&format!("{head}reboot\n{python}"), "reboots");
    check(&format!("{head}reboot\n"), "dialog: include: cannot open the file /tmp/more");
    check(&format!("{head}reboot\n{pre}true\n"), "dialog: include: cannot open the file /tmp/more");
    check(
        "include /tmp/a\n%pre --interpreter=busybox\necho include /tmp/a > /tmp/a\n",
        "dialog: include: too many…",
    );
}

#[test]
fn includes_lie_on_the_medium_or_nowhere() {
    let text = |target: &str| format!("{HEAD}install --firstdisk\n%include {target}\n");
    check(&text("./MORE.CFG"), "wants /MORE.CFG");
    check(&text("/vmfs/volumes/mpx.vmhba32:C0:T0:L0/A/MORE.CFG"), "wants /A/MORE.CFG");
    check(&text("http://a.test/ks"), "dialog: include: cannot fetch http://a.test/ks: there is no network");
    check(&text("tmp/x"), "dialog: include: cannot open the file tmp/x");
    check(&text(""), "dialog: %include: no file was given");
    let with = |content| shown(parse(&text("./MORE.CFG"), true, &Disk::Blank, &[("/MORE.CFG", content)]));
    assert_eq!(with(Some("reboot\n")), "reboots");
    assert_eq!(with(Some("%include ./LESS.CFG\n")), "wants /LESS.CFG");
    assert_eq!(with(None), "dialog: include: cannot open the file ./MORE.CFG");
}

#[test]
fn any_text_gives_an_answer() {
    let head = format!("{HEAD}install --firstdisk\n");
    for rest in [
        "",
        "\0",
        "%",
        "%post",
        "%pre\n",
        "%pre --interpreter",
        "include",
        "%include \u{FDD0}",
        "part",
        "part =",
        "--",
        "=",
        "network --ip",
        "network --bootproto=static --ip=0.0.0.0 --netmask=0.0.0.0",
        "keyboard",
        "serialnum --esx",
        "network --bootproto=static --ip=255.255.255.255 --netmask=255.255.255.255",
        "\\",
        "'",
        "%include ./KS.CFG",
    ] {
        for text in [rest.to_owned(), format!("{head}{rest}"), format!("{head}%pre\n{rest}\n%post\n{rest}")] {
            for strict in [false, true] {
                parse(&text, strict, &Disk::Blank, &[("/KS.CFG", Some(&text))]);
            }
        }
    }
}

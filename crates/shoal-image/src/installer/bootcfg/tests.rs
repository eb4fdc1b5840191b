//! The grammar, and the promise that an edit keeps everything else.

use proptest::prelude::*;

use super::*;

const VENDOR: &str = "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\n\
    kernelopt=runweasel cdromBoot\nmodules=/jumpstrt.gz --- /useropts.gz\nbuild=8.0.3-0.0.24022510\nupdated=0\n";

fn edited(text: &str) -> String {
    String::from_utf8(set_kickstart(text.as_bytes(), KickstartOn::Cd).unwrap()).unwrap()
}

#[test]
fn the_vendors_file_is_understood() {
    let config = parse_boot_config(VENDOR.as_bytes());
    assert_eq!(config.kernel.as_deref(), Some("/b.b00"));
    assert_eq!(config.kernelopt.as_deref(), Some("runweasel cdromBoot"));
    assert_eq!(config.modules.unwrap(), ["/jumpstrt.gz", "/useropts.gz"]);
    assert_eq!(config.prefix, None);
    assert_eq!(config.build.as_deref(), Some("8.0.3-0.0.24022510"));
}

#[test]
fn the_grammar_is_the_boot_loaders() {
    let check = |text: &str, wanted: Option<&str>| {
        let config = parse_boot_config(text.as_bytes());
        assert_eq!(config.kernelopt.as_deref(), wanted, "{text:?}");
    };
    check("kernelopt=a  b\t c ", Some("a b c"));
    check("kernelopt=a b\r\nkernel=/k\r\n", Some("a b"));
    check(" \tKernelOpt=  a=b", Some("a=b"));
    check("kernelopt=first\nkernelopt=second", Some("second"));
    check("kernelo=short", Some("short"));
    check("kernelopts=long", None);
    check("kernelopt =blank before the separator", None);
    check("# kernelopt=comment", None);
    check("kernelopt=before\0after", Some("before"));
    check("kernelopt=", Some(""));
    check("kernelopt", None);
    // A key that fits several options is the first of them.
    assert_eq!(parse_boot_config(b"kern=/k").kernel.as_deref(), Some("/k"));
    assert_eq!(parse_boot_config(b"t=5").title.as_deref(), Some("5"));
    assert_eq!(parse_boot_config(b"=/k").kernel.as_deref(), Some("/k"));
    // An empty value unsets.
    assert_eq!(parse_boot_config(b"kernel=/k\nkernel=").kernel, None);
    let modules = parse_boot_config(b"modules=/a x=1---/b --- --- /c").modules.unwrap();
    assert_eq!(modules, ["/a", "/b", "/c"]);
}

#[test]
fn the_edit_drops_what_prevents_the_kickstart_and_adds_it() {
    let check = |before: &str, after: &str| {
        assert_eq!(edited(&format!("kernelopt={before}")), format!("kernelopt={after}"));
    };
    check("runweasel cdromBoot", "runweasel ks=cdrom:/KS.CFG");
    check("cdromBoot runweasel", "runweasel ks=cdrom:/KS.CFG");
    check("", "ks=cdrom:/KS.CFG");
    check("ks=usb a ks=http://h/ks.cfg b", "a b ks=cdrom:/KS.CFG");
    check("\"ks=cdrom:/MY KS.CFG\" a", "a ks=cdrom:/KS.CFG");
    // Tokens are matched with their case, and at their start; of `cdromBoot` no spelling stays.
    check("KS=usb xks=1 xcdromBoot cdromBoots", "KS=usb xks=1 xcdromBoot cdromBoots ks=cdrom:/KS.CFG");
    check("CDROMBOOT a cdromBoot=1 'cdromBoot' CdromBoot", "a ks=cdrom:/KS.CFG");
    check("name='a b' x", "name='a b' x ks=cdrom:/KS.CFG");
}

#[test]
fn the_edit_changes_the_line_that_counts_and_no_other() {
    let before = "kernelopt=old cdromBoot\r\nKERNELOPT=\trunweasel  cdromBoot \r\nkernel=/k\r\nupdated=0";
    let after = "kernelopt=old cdromBoot\r\nKERNELOPT=runweasel ks=cdrom:/KS.CFG\r\nkernel=/k\r\nupdated=0";
    assert_eq!(edited(before), after);
    assert_eq!(edited(&edited(VENDOR)), edited(VENDOR));
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let refuse = |text: &str| set_kickstart(text.as_bytes(), KickstartOn::Cd).unwrap_err();
    assert_eq!(refuse("kernel=/b.b00\n"), BootConfigError::NoOptions);
    assert_eq!(refuse("kernelopt=a 'b c\n"), BootConfigError::OpenQuote);
    let text = format!("kernel=/b.b00\nkernelopt={}\n", "x".repeat(4096 - 6 - 18));
    assert_eq!(refuse(&text), BootConfigError::CommandLine { bytes: 4097 });
    assert!(set_kickstart(text.replacen('x', "", 1).as_bytes(), KickstartOn::Cd).is_ok());
}

#[test]
fn the_option_that_counts_is_the_last() {
    assert_eq!(kickstart_of("ks=usb ks=cdrom:/KS.CFG").as_deref(), Some("cdrom:/KS.CFG"));
    assert_eq!(kickstart_of("ks=cdrom:/KS.CFG ks=usb").as_deref(), Some("usb"));
    assert_eq!(kickstart_of("'ks=cdrom:/KS.CFG'").as_deref(), Some("cdrom:/KS.CFG"));
    assert_eq!(kickstart_of("runweasel KS=usb"), None);
}

#[test]
fn a_file_is_padded_or_its_title_cut_to_keep_its_length() {
    let text = edited(VENDOR);
    assert_eq!(text.len(), VENDOR.len() + 7);
    let fitted = fit(text.as_bytes(), VENDOR.len()).unwrap();
    assert_eq!(fitted.len(), VENDOR.len());
    let config = parse_boot_config(&fitted);
    assert_eq!(config.title.as_deref(), Some("ESXi"));
    assert_eq!(config.kernelopt.as_deref(), Some("runweasel ks=cdrom:/KS.CFG"));
    // Room enough: the title stays.
    let padded = fit(text.as_bytes(), text.len() + 5).unwrap();
    assert_eq!(parse_boot_config(&padded).title.as_deref(), Some("Loading ESXi installer"));
    // 18 bytes are all that this title can give.
    assert!(fit(text.as_bytes(), text.len() - 18).is_some());
    assert!(fit(text.as_bytes(), text.len() - 19).is_none());
    assert!(fit(b"kernel=/k\n", 9).is_none());
    assert_eq!(fit(b"kernel=/k\n", 12).unwrap(), b"kernel=/k\n  ");
}

/// Lines as vendors and operators write them, and malformed ones.
fn boot_file() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "kernelopt",
        "KERNELOPT",
        "kernelo",
        "kernel",
        "modules",
        "title",
        "prefix",
        "build",
        "timeout",
        "k",
        "#x",
        "",
    ]);
    let word = prop_oneof![
        Just("cdromBoot".to_owned()),
        Just("runweasel".to_owned()),
        Just("ks=usb".to_owned()),
        Just("\"a  b\"".to_owned()),
        "[a-zA-Z0-9/=._:-]{1,12}",
    ];
    let blank = prop::sample::select(vec![" ", "  ", "\t", " \t "]);
    let value = prop::collection::vec((word, blank), 0..6)
        .prop_map(|words| words.into_iter().map(|(word, blank)| word + blank).collect::<String>());
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n"]);
    let line = (key, value, end).prop_map(|(key, value, end)| format!("{key}={value}{end}"));
    (prop::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, has_end)| {
        let text = lines.concat();
        if has_end { text } else { text.trim_end_matches(['\r', '\n']).to_owned() }
    })
}

fn kept_tokens(kernelopt: &str) -> Vec<Vec<u8>> {
    let is_kept = |token: &Token| !token.is_cdrom_boot() && !token.meaning.starts_with(b"ks=");
    let tokens = split_options(kernelopt.as_bytes()).unwrap();
    tokens.into_iter().filter(is_kept).map(|token| token.written).collect()
}

proptest! {
    #[test]
    fn an_edit_keeps_every_other_token_and_setting(text in boot_file(), extra in 0_usize..40) {
        let before = parse_boot_config(text.as_bytes());
        let Some(options) = before.kernelopt.clone() else {
            prop_assert_eq!(set_kickstart(text.as_bytes(), KickstartOn::Cd), Err(BootConfigError::NoOptions));
            return Ok(());
        };
        let edited = set_kickstart(text.as_bytes(), KickstartOn::Cd).unwrap();
        let after = parse_boot_config(&edited);
        let new_options = after.kernelopt.clone().unwrap();
        prop_assert_eq!(kickstart_of(&new_options).unwrap(), "cdrom:/KS.CFG");
        prop_assert_eq!(kept_tokens(&new_options), kept_tokens(&options));
        prop_assert_eq!(new_options.matches("ks=cdrom:/KS.CFG").count(), 1);
        let same = BootConfig { kernelopt: before.kernelopt.clone(), ..after.clone() };
        prop_assert_eq!(same, before);
        // Fitting may change the title and nothing else.
        for len in [edited.len() + extra, edited.len().saturating_sub(extra)] {
            if let Some(fitted) = fit(&edited, len) {
                prop_assert_eq!(fitted.len(), len);
                let fitted = BootConfig { title: after.title.clone(), ..parse_boot_config(&fitted) };
                prop_assert_eq!(&fitted, &after);
            }
        }
    }

    #[test]
    fn no_boot_file_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let config = parse_boot_config(&bytes);
        let _ = config.kernelopt.map(|options| kickstart_of(&options));
        if let Ok(edited) = set_kickstart(&bytes, KickstartOn::Cd) {
            let _ = fit(&edited, bytes.len());
        }
    }
}

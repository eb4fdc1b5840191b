//! `BOOT.CFG` as mboot reads it, and the release of the image, which mboot passes over.
//!
//! Source: vmware/esx-boot @32924c6, bootlib/parse.c and mboot/config.c. Written apart from
//! [`shoal_image::installer`], which changes such files, so that neither can hide the other's mistake.
//! Invariant: any bytes give an answer.

/// mboot refuses a command line of this many bytes or more (`ESXBOOTINFO_MAXCMDLINE`).
pub const COMMAND_LINE_BYTES_MAX: usize = 4096;

/// What mboot takes from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootCfg {
    pub kernel: String,
    pub kernelopt: String,
    /// Paths without their options.
    pub modules: Vec<String>,
    pub prefix: String,
    /// What the image says that it is, `8.0.3-0.0.24022510`: for the installer, not for mboot.
    pub build: String,
}

/// What `text` means to mboot. A repeated key: the last wins; an unknown key: ignored.
pub fn parse_boot_cfg(text: &[u8]) -> BootCfg {
    let text = String::from_utf8_lossy(text);
    let mut cfg = BootCfg::default();
    for line in text.split('\n') {
        let content = line.split('\0').next().unwrap_or_default();
        let content = content.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        if content.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = content.split_once('=') {
            set(&mut cfg, key, value.trim_start());
        }
    }
    cfg
}

/// A blank before the `=` is a part of the key, and so makes it unknown.
fn set(cfg: &mut BootCfg, key: &str, value: &str) {
    match key.to_ascii_lowercase().as_str() {
        "kernel" => cfg.kernel = value.to_owned(),
        "kernelopt" => cfg.kernelopt = value.to_owned(),
        "prefix" => cfg.prefix = value.to_owned(),
        "build" => cfg.build = value.to_owned(),
        "modules" => {
            let paths = value.split("---").filter_map(|item| item.split_whitespace().next());
            cfg.modules = paths.map(str::to_owned).collect();
        }
        _ => {}
    }
}

impl BootCfg {
    /// Where a file named in the configuration at `cfg_path` lies on the volume.
    pub fn resolve(&self, cfg_path: &str, file: &str) -> String {
        let directory = match (self.prefix.as_str(), file.starts_with('/')) {
            ("", true) => "",
            ("", false) => cfg_path.rsplit_once('/').map_or("", |(directory, _)| directory),
            (prefix, _) => prefix.trim_end_matches('/'),
        };
        let path = format!("{directory}/{}", file.trim_start_matches('/'));
        if path.starts_with('/') { path } else { format!("/{path}") }
    }

    /// What follows the last token that begins with `ks=`; tokens are matched case-sensitively.
    pub fn kickstart_option(&self) -> Option<&str> {
        self.kernelopt.split(' ').rev().find_map(|token| token.strip_prefix("ks="))
    }

    pub fn has_cdrom_boot(&self) -> bool {
        self.kernelopt.split(' ').any(|token| token == "cdromBoot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_file_gives_kernel_options_and_modules() {
        let cfg = parse_boot_cfg(
            b"bootstate=0\r\ntitle=Loading ESXi installer\r\nprefix=\r\nkernel=/b.b00\r\n\
              kernelopt=runweasel cdromBoot\r\nbuild=8.0.3-0.0.24022510\r\nmodules=/jumpstrt.gz --- /useropts.gz---/k.b00 x=1\r\n",
        );
        assert_eq!(cfg.kernel, "/b.b00");
        assert_eq!(cfg.kernelopt, "runweasel cdromBoot");
        assert_eq!(cfg.modules, ["/jumpstrt.gz", "/useropts.gz", "/k.b00"]);
        assert_eq!(cfg.build, "8.0.3-0.0.24022510");
        assert_eq!(cfg.kickstart_option(), None);
    }

    #[test]
    fn the_last_key_and_the_last_ks_win() {
        let cfg = parse_boot_cfg(
            b"kernelopt=ks=usb\n#kernelopt=ks=no\nKernelOpt=  a ks=cdrom:/A.CFG\tks=cdrom:/B.CFG KS=x\n\
              kernelopt =ks=blank-before-equals\n",
        );
        assert_eq!(cfg.kickstart_option(), Some("cdrom:/B.CFG"));
    }

    #[test]
    fn paths_follow_the_prefix_or_the_directory_of_the_file() {
        let plain = BootCfg::default();
        assert_eq!(plain.resolve("/EFI/BOOT/BOOT.CFG", "/b.b00"), "/b.b00");
        assert_eq!(plain.resolve("/EFI/BOOT/BOOT.CFG", "b.b00"), "/EFI/BOOT/b.b00");
        assert_eq!(plain.resolve("/BOOT.CFG", "b.b00"), "/b.b00");
        let prefixed = BootCfg { prefix: "esx/".into(), ..BootCfg::default() };
        assert_eq!(prefixed.resolve("/BOOT.CFG", "/b.b00"), "/esx/b.b00");
    }

    #[test]
    fn any_bytes_give_an_answer() {
        assert_eq!(parse_boot_cfg(b"\xff\xfe=\0kernel=x\n==\n=\n\0"), BootCfg::default());
    }
}

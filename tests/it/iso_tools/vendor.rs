//! Images laid out like VMware's, made by other people's writers.
//!
//! Invariant: an image has everything that makes it an ESXi installer, whatever its trees.

use std::path::PathBuf;
use std::process::Command;

use shoal_image::iso::TreeKind;

use super::tools::{Tools, run};

pub const BOOT_FILES: [&str; 2] = ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"];

#[derive(Clone, Copy, Debug)]
pub enum Maker {
    Xorriso,
    Genisoimage,
}

#[derive(Clone, Copy, Debug)]
pub enum Trees {
    Plain,
    Joliet,
    JolietAndRockRidge,
}

/// How long BOOT.CFG is, and whether its title can give way.
#[derive(Clone, Copy, Debug)]
pub enum BootFileKind {
    /// As VMware's: the title makes room.
    Titled,
    /// No title, and room in its block.
    Short,
    /// 2048 bytes: its block is full.
    Edge,
    /// Two blocks, the second with room.
    Beyond,
    /// Two full blocks.
    BeyondEdge,
}

impl Trees {
    pub const ALL: [Trees; 3] = [Trees::Plain, Trees::Joliet, Trees::JolietAndRockRidge];

    pub fn has_joliet(self) -> bool {
        !matches!(self, Trees::Plain)
    }

    pub fn has_rock_ridge(self) -> bool {
        matches!(self, Trees::JolietAndRockRidge)
    }

    pub fn kinds(self) -> Vec<TreeKind> {
        match self {
            Trees::Plain => vec![TreeKind::Primary],
            Trees::Joliet => vec![TreeKind::Primary, TreeKind::Joliet],
            Trees::JolietAndRockRidge => vec![TreeKind::Primary, TreeKind::RockRidge, TreeKind::Joliet],
        }
    }

    /// Options that make xorriso read these names, in the order of [`Trees::kinds`].
    pub fn xorriso_modes(self) -> &'static [&'static str] {
        match self {
            Trees::Plain => &["ecma119"],
            Trees::Joliet => &["ecma119", "norock"],
            Trees::JolietAndRockRidge => &["ecma119", "any", "norock"],
        }
    }
}

impl BootFileKind {
    pub const ALL: [BootFileKind; 5] = [
        BootFileKind::Titled,
        BootFileKind::Short,
        BootFileKind::Edge,
        BootFileKind::Beyond,
        BootFileKind::BeyondEdge,
    ];

    fn content(self, modules: usize) -> Vec<u8> {
        let names: Vec<String> = (0..modules).map(|i| format!("/MODULE{i:02}.V00")).collect();
        let title = if matches!(self, BootFileKind::Titled) { "title=Loading ESXi installer\n" } else { "" };
        let mut text = format!(
            "bootstate=0\n{title}timeout=5\nprefix=\nkernel=/b.b00\n\
             kernelopt=runweasel cdromBoot logPort=com1\nmodules={}\nbuild=8.0.3-0.0.24022510\nupdated=0\n",
            names.join(" --- "),
        );
        let filler = match self {
            BootFileKind::Titled | BootFileKind::Short => text.len(),
            BootFileKind::Edge => 2048,
            BootFileKind::Beyond => 3000,
            BootFileKind::BeyondEdge => 4096,
        };
        assert!(text.len() <= filler, "{} modules are too many for {self:?}", modules);
        text.extend(std::iter::repeat_n('#', filler - text.len()));
        text.into_bytes()
    }
}

/// What image to make.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub maker: Maker,
    pub trees: Trees,
    pub kind: BootFileKind,
    /// Modules in the root directory.
    pub modules: usize,
    /// Length of the name of one more file there.
    pub extra: usize,
    /// A UDF tree beside the others, of genisoimage alone.
    pub udf: bool,
}

impl Recipe {
    pub fn new(maker: Maker, trees: Trees, kind: BootFileKind) -> Recipe {
        Recipe { maker, trees, kind, modules: 20, extra: 5, udf: false }
    }

    fn files(&self, boot_file: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<(String, Vec<u8>)> = vec![
            ("BOOT.CFG".to_owned(), boot_file.to_vec()),
            ("EFI/BOOT/BOOT.CFG".to_owned(), boot_file.to_vec()),
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), vec![0xEF; 3000]),
            ("B.B00".to_owned(), vec![0xB0; 70_000]),
            ("ISOLINUX.BIN".to_owned(), vec![0x15; 24_000]),
            ("ISOLINUX.CFG".to_owned(), b"DEFAULT MBOOT.C32\n".to_vec()),
            ("EFIBOOT.IMG".to_owned(), vec![0xFA; 40_000]),
            ("X".repeat(self.extra), b"extra".to_vec()),
        ];
        files.extend((0..self.modules).map(|i| (format!("MODULE{i:02}.V00"), vec![i as u8; 100 * i + 1])));
        files
    }

    fn command(&self) -> Command {
        let mut command = match self.maker {
            Maker::Xorriso => Command::new("xorriso"),
            Maker::Genisoimage => Command::new("genisoimage"),
        };
        if let Maker::Xorriso = self.maker {
            command.args(["-as", "mkisofs"]);
            command.args((!self.trees.has_rock_ridge()).then_some("--norock"));
        }
        command.args(self.trees.has_joliet().then_some("-J"));
        command.args(self.trees.has_rock_ridge().then_some("-R"));
        command.args(self.udf.then_some("-udf"));
        command.args(["-quiet", "-iso-level", "1", "-V", "ESXI-8.0U3-24022510-STANDARD", "-A", "ESXIMAGE"]);
        command.args(["-b", "ISOLINUX.BIN", "-c", "BOOT.CAT", "-no-emul-boot", "-boot-load-size", "4"]);
        command.args(["-boot-info-table", "-eltorito-alt-boot", "-e", "EFIBOOT.IMG", "-no-emul-boot"]);
        command
    }
}

/// An image, as a file and in memory.
pub struct VendorImage {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub boot_file: Vec<u8>,
    pub recipe: Recipe,
}

impl VendorImage {
    pub fn make(tools: &Tools, recipe: Recipe) -> VendorImage {
        let (files, path) = (tools.path("vendor"), tools.path("vendor.iso"));
        std::fs::create_dir_all(files.join("EFI/BOOT")).unwrap();
        let boot_file = recipe.kind.content(recipe.modules);
        for (name, content) in recipe.files(&boot_file) {
            std::fs::write(files.join(name), content).unwrap();
        }
        let package = if matches!(recipe.maker, Maker::Xorriso) { "xorriso" } else { "genisoimage" };
        run(recipe.command().arg("-o").arg(&path).arg(&files), package);
        let bytes = std::fs::read(&path).unwrap();
        VendorImage { path, bytes, boot_file, recipe }
    }
}

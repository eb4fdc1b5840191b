//! How long the linter takes for 64 KiB, the largest kickstart: `cargo xtask bench lint`.
//!
//! Ordinary texts, and texts made to be slow: one of each kind of repetition that some check has to look at. The
//! aim is 5 ms for each. Nothing here passes or fails, since a shared machine proves no absolute number.

use shoal_kickstart::{Options, lint, rules::FRAME};

const BYTES: usize = 65_536;

fn main() {
    divan::main();
}

#[derive(Clone, Copy, Debug)]
enum Text {
    /// A good kickstart with a long `%firstboot`.
    Ordinary,
    /// The same with an `esxcli` in each line of a `%post`.
    ManyFindings,
    UnknownCommands,
    UnknownOptions,
    LongOption,
    LongName,
    Installs,
    OpenQuotes,
    Remarks,
    Sections,
    SectionOptions,
    DeadCode,
    Includes,
    WrittenLines,
    Placeholders,
    Quotes,
}

const TEXTS: [Text; 16] = [
    Text::Ordinary,
    Text::ManyFindings,
    Text::UnknownCommands,
    Text::UnknownOptions,
    Text::LongOption,
    Text::LongName,
    Text::Installs,
    Text::OpenQuotes,
    Text::Remarks,
    Text::Sections,
    Text::SectionOptions,
    Text::DeadCode,
    Text::Includes,
    Text::WrittenLines,
    Text::Placeholders,
    Text::Quotes,
];

impl Text {
    /// What it begins with, what is repeated, and what it ends with.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        let post = "%post --interpreter=busybox\n";
        match self {
            Text::Ordinary => (
                "%firstboot --interpreter=busybox\n",
                "esxcli network vswitch standard portgroup add -p \"VM Network 20\" -v vSwitch0\n",
                "",
            ),
            Text::ManyFindings => (post, "esxcli system maintenanceMode set -e true\n", ""),
            Text::UnknownCommands => ("", "a\n", ""),
            Text::UnknownOptions => ("install ", "--x ", "\n"),
            Text::LongOption => ("install --", "x", "\n"),
            Text::LongName => ("", "x", "\n"),
            Text::Installs => ("", "install\nclearpart\n", ""),
            Text::OpenQuotes => ("", "'\n", ""),
            Text::Remarks => ("", "# shoal: allow KS001 x\n", ""),
            Text::Sections => ("", "%pre\n", ""),
            Text::SectionOptions => ("%post ", "--x ", "\nesxcli\nsync\n"),
            Text::DeadCode => (post, "esxcli\n", ""),
            Text::Includes => ("", "%include /tmp/x\n", "%pre\necho reboot > /tmp/x\n"),
            Text::WrittenLines => ("%include /tmp/x\n%pre\n", "echo a >> /tmp/x\n", ""),
            Text::Placeholders => ("", "{{ x }}<% if\n", ""),
            Text::Quotes => ("rootpw ", "\"a\"", "\n"),
        }
    }

    fn bytes(self) -> Vec<u8> {
        let (before, line, after) = self.parts();
        let mut text = FRAME.to_owned() + before;
        let half = text.len() + (BYTES - text.len()) / 2;
        while text.len() + line.len() + after.len() <= BYTES {
            let is_dead = matches!(self, Text::DeadCode) && text.len() > half;
            text.push_str(if is_dead && !text.contains("exit") { "exit 0\n" } else { line });
        }
        (text + after).into_bytes()
    }
}

#[divan::bench(args = TEXTS, sample_count = 20)]
fn linting(bencher: divan::Bencher<'_, '_>, text: Text) {
    let bytes = text.bytes();
    bencher.bench(|| lint(divan::black_box(&bytes), Options::default()));
}

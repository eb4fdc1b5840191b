//! Texts for tests: a good kickstart, and random ones that are near to what people write.
//!
//! Compiled for tests alone. Invariant: no rule finds anything in [`GOOD`].

use proptest::prelude::*;

/// A complete kickstart without a finding.
pub const GOOD: &str = crate::rules::FRAME;

/// Texts made of what the readers look for.
pub fn kickstartish() -> impl Strategy<Value = String> {
    let parts = [
        "%post",
        "%post --interpreter=busybox\n",
        "%pre\n",
        "include",
        "install --disk=naa.5",
        "rootpw ",
        "--iscrypted $6$",
        "--disk=",
        "\\",
        "\\\n",
        "'",
        "\"",
        "#",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "é",
        "{{ x }}",
        "a",
        "\0",
        "# shoal: allow KS001 x\n",
        "network --bootproto=static --ip=10.0.0.1",
        " --netmask=255.255.255.0 --gateway=10.0.0.2\n",
        "reboot\n",
        "vmaccepteula\n",
        "%include /tmp/x\n",
        "exit 1\n",
        "poweroff\n",
        "esxcli x\n",
        "%end\n",
        "=",
        "keyboard ",
        "clearpart --alldrives\n",
        "# shoal: allow KS070 because",
        "paranoid\n",
        "{% if x %}\n",
        "upgrade ",
        "\u{fffd}",
        "--ip=10.0.0",
    ];
    proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

//! One machine of the lab, looked at from outside: its console, its disk and its Redfish resources.
//!
//! Only looks, but for what makes it ready beforehand: what else changes the machine is the controller's
//! doing. Invariant: the console is read from where it was when watching began.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Service;
use super::scenario::Redfish;
use super::{home, read};
use crate::process::{Done, capture, command, fail};

/// The mark of a disk with a datastore, and its offset (lab/guest/disk).
const DATASTORE: (&[u8; 4], u64) = (b"SINS", 440);
/// So much of the disk's beginning is compared: an installation writes all of it.
const DISK_HEAD: usize = 1 << 20;
/// How a partition table begins, at both ends of a disk.
const GPT: &[u8] = b"EFI PART";
const CONSOLE: Duration = Duration::from_secs(4 * 60);
const LOOK: Duration = Duration::from_millis(100);

pub struct Machine {
    pub number: u32,
    service: Service,
    console: PathBuf,
    disk: PathBuf,
    since: usize,
}

/// The account of one of the lab's Redfish services.
pub struct Account {
    pub url: String,
    pub username: &'static str,
    pub password: String,
    /// SHA-256 of its certificate, lower-case hex.
    pub pin: String,
}

impl Account {
    pub fn of(service: Redfish) -> Done<Account> {
        let url = match service {
            Redfish::Lab => "url",
            Redfish::Stock => "stock.url",
        };
        let run = home().join("run");
        let certificate = run.join("cert.pem");
        let query = ["x509", "-noout", "-fingerprint", "-sha256", "-in"];
        let said = capture(command("openssl", &query).arg(&certificate))?;
        let pin = said.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        Ok(Account {
            url: read(&run.join(url))?,
            username: "admin",
            password: read(&run.join("password"))?,
            pin,
        })
    }
}

impl Machine {
    pub fn new(number: u32, account: &Account) -> Machine {
        let authorization =
            format!("Basic {}", base64(&format!("{}:{}", account.username, account.password)));
        let service = Service { base: account.url.clone(), authorization };
        let console = home().join(format!("log/vm{number}.serial"));
        let since = std::fs::read(&console).map_or(0, |text| text.len());
        let disk = home().join(format!("vm/vm{number}.img"));
        Machine { number, service, console, disk, since }
    }

    pub fn serial(&self) -> String {
        format!("LAB{:04}", self.number)
    }

    pub fn firmware(&self) -> &'static str {
        if self.number.is_multiple_of(2) { "BIOS" } else { "UEFI" }
    }

    /// What the console has shown since this value was made.
    pub fn console(&self) -> String {
        let text = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(text.get(self.since..).unwrap_or_default()).into_owned()
    }

    pub fn system(&self) -> Done<Value> {
        self.service.read(&self.path())
    }

    /// Waits until the console shows these words.
    pub fn await_console(&self, words: &str) -> Done {
        let start = Instant::now();
        while self.count(words) == 0 {
            if start.elapsed() > CONSOLE {
                return fail(format!("the console never showed: {words}"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// How often the console has shown these words.
    pub fn count(&self, words: &str) -> usize {
        self.console().matches(words).count()
    }

    /// The file of its first disk.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Changes its power, as an operator or a fault does.
    pub fn reset(&self, kind: &str) -> Done {
        let path = format!("{}/Actions/ComputerSystem.Reset", self.path());
        match self.service.post(&path, &json!({ "ResetType": kind }))? {
            answer if answer.status < 300 => Ok(()),
            answer => fail(format!("{kind} is refused: {} {}", answer.status, answer.body)),
        }
    }

    /// Whether the disk has a boot sector, or a partition table at either end.
    pub fn has_bootable_disk(&self) -> Done<bool> {
        let (mut head, mut tail) = ([0; 1024], [0; 512]);
        let read = OpenOptions::new().read(true).open(&self.disk).and_then(|disk| {
            let end = disk.metadata()?.len() - tail.len() as u64;
            disk.read_exact_at(&mut head, 0)?;
            disk.read_exact_at(&mut tail, end)
        });
        read.or_else(|error| fail(format!("{}: {error}", self.disk.display())))?;
        Ok(head[510..512] == [0x55, 0xaa] || head[512..].starts_with(GPT) || tail.starts_with(GPT))
    }

    /// Makes the disk one that an earlier installation has left, as far as an installer looks.
    pub fn make_datastore(&self) -> Done {
        let (mark, place) = DATASTORE;
        let written = OpenOptions::new().write(true).open(&self.disk);
        let written = written.and_then(|disk| disk.write_all_at(mark, place));
        written.or_else(|error| fail(format!("{}: {error}", self.disk.display())))
    }

    /// Whether nothing was written since the disk was made, blank or with a datastore.
    pub fn is_disk_as_prepared(&self, used: bool) -> Done<bool> {
        let (mut head, mut expected) = (vec![0; DISK_HEAD], vec![0; DISK_HEAD]);
        if used {
            let (mark, place) = (DATASTORE.0, DATASTORE.1 as usize);
            expected[place..place + mark.len()].copy_from_slice(mark);
        }
        let read = OpenOptions::new().read(true).open(&self.disk);
        let read = read.and_then(|disk| disk.read_exact_at(&mut head, 0));
        read.or_else(|error| fail(format!("{}: {error}", self.disk.display())))?;
        Ok(head == expected)
    }

    /// Makes its BMC forget what an earlier scenario has left of media and overrides.
    pub fn release(&self) -> Done {
        let disarmed = json!({ "Boot": { "BootSourceOverrideEnabled": "Disabled" } });
        let mut answers = vec![self.service.patch(&self.path(), &disarmed)?];
        for slot in self.inserted()? {
            let eject = format!("{}/VirtualMedia/{slot}/Actions/VirtualMedia.EjectMedia", self.path());
            answers.push(self.service.post(&eject, &json!({}))?);
        }
        match answers.iter().find(|answer| answer.status >= 300) {
            None => Ok(()),
            Some(answer) => fail(format!("the machine is not released: {} {}", answer.status, answer.body)),
        }
    }

    /// The names of the slots that hold a medium.
    pub fn inserted(&self) -> Done<Vec<String>> {
        let slots = self.service.read(&format!("{}/VirtualMedia", self.path()))?;
        let links = slots["Members"].as_array().into_iter().flatten();
        let mut inserted = Vec::new();
        for link in links.filter_map(|member| member["@odata.id"].as_str()) {
            let body = self.service.read(link)?;
            match body["Inserted"].as_bool() {
                Some(true) => inserted.push(link.rsplit('/').next().unwrap_or(link).to_owned()),
                Some(false) => {}
                None => return fail(format!("{link} does not say whether it holds a medium: {body}")),
            }
        }
        Ok(inserted)
    }

    /// Its `Id` among the systems of its service.
    pub fn system_id(&self) -> String {
        format!("00000000-0000-0000-0000-{:012x}", self.number)
    }

    fn path(&self) -> String {
        format!("/redfish/v1/Systems/{}", self.system_id())
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let value = (0..3).fold(0_usize, |value, at| value << 8 | usize::from(*bytes.get(at).unwrap_or(&0)));
        let digit = |at: usize| char::from(DIGITS[value >> (18 - 6 * at) & 63]);
        (0..4).map(|at| if at <= bytes.len() { digit(at) } else { '=' }).collect::<String>()
    };
    text.as_bytes().chunks(3).map(group).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("a:b~", "YTpifg==")]
        {
            assert_eq!(super::base64(text), expected);
        }
    }
}

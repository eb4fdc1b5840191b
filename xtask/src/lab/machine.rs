//! One machine of the lab, looked at from outside: its console and its Redfish resources.
//!
//! Only looks: what changes the machine is the controller's doing. Invariant: the console is read
//! from where it was when watching began.

use std::path::PathBuf;

use serde_json::Value;

use super::http::Service;
use super::{home, read};
use crate::process::{Done, capture, command, fail};

pub struct Machine {
    pub number: u32,
    service: Service,
    console: PathBuf,
    since: usize,
}

/// The account of the lab's Redfish service.
pub struct Account {
    pub url: String,
    pub username: &'static str,
    pub password: String,
    /// SHA-256 of its certificate, lower-case hex.
    pub pin: String,
}

impl Account {
    pub fn of_lab() -> Done<Account> {
        let run = home().join("run");
        let certificate = run.join("cert.pem");
        let query = ["x509", "-noout", "-fingerprint", "-sha256", "-in"];
        let said = capture(command("openssl", &query).arg(&certificate))?;
        let pin = said.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        Ok(Account {
            url: read(&run.join("url"))?,
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
        Machine { number, service, console, since }
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

    /// The names of the slots that hold a medium.
    pub fn inserted(&self) -> Done<Vec<&'static str>> {
        let mut inserted = Vec::new();
        for slot in ["CD1", "CD2"] {
            let body = self.service.read(&format!("{}/VirtualMedia/{slot}", self.path()))?;
            match body["Inserted"].as_bool() {
                Some(true) => inserted.push(slot),
                Some(false) => {}
                None => return fail(format!("{slot} does not say whether it holds a medium: {body}")),
            }
        }
        Ok(inserted)
    }

    fn path(&self) -> String {
        format!("/redfish/v1/Systems/00000000-0000-0000-0000-{:012x}", self.number)
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

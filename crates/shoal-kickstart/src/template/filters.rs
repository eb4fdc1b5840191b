//! Filters: addresses, MAC forms, passwords, and the few of Jinja's that kickstarts need.
//!
//! Invariant: what a filter returns is at most 64 KiB, and what it says of a wrong value never quotes it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::Ipv4Net;
use minijinja::{Environment, Error, ErrorKind, Value, filters as jinja, functions, tests};
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};
use sha2::{Digest, Sha256};

use super::{OWN, RENDERED_BYTES_MAX};

const SALT_BYTES: usize = 12;
const PASSWORD_BYTES_MAX: usize = 256;
/// Each costs some milliseconds.
const PASSWORDS_MAX: u64 = 16;

/// Salts that follow from a seed, one for each password of a rendering.
pub struct Salts {
    seed: [u8; 32],
    drawn: AtomicU64,
}

impl Salts {
    pub fn new(seed: [u8; 32]) -> Salts {
        Salts { seed, drawn: AtomicU64::new(0) }
    }

    fn draw(&self) -> Option<[u8; SALT_BYTES]> {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let hash = Sha256::new().chain_update(self.seed).chain_update(number.to_be_bytes()).finalize();
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&hash[..SALT_BYTES]);
        (number < PASSWORDS_MAX).then_some(salt)
    }
}

/// An error whose text is ours.
pub fn refusal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{OWN}{}", message.into()))
}

pub fn add(environment: &mut Environment<'_>, salts: &Arc<Salts>) {
    environment.add_filter("default", jinja::default);
    environment.add_filter("d", jinja::default);
    environment.add_filter("lower", jinja::lower);
    environment.add_filter("upper", jinja::upper);
    environment.add_filter("trim", jinja::trim);
    environment.add_filter("length", jinja::length);
    environment.add_filter("int", jinja::int);
    environment.add_filter("first", jinja::first);
    environment.add_filter("last", jinja::last);
    environment.add_filter("join", join);
    environment.add_filter("replace", replace);
    environment.add_filter("ip_add", ip_add);
    environment.add_filter("ip_address", |text: &str| interface(text).map(|net| net.addr().to_string()));
    environment.add_filter("ip_network", |text: &str| interface(text).map(|net| net.network().to_string()));
    environment
        .add_filter("ip_broadcast", |text: &str| interface(text).map(|net| net.broadcast().to_string()));
    environment.add_filter("ip_netmask", |text: &str| interface(text).map(|net| net.netmask().to_string()));
    environment.add_filter("ip_prefix", |text: &str| interface(text).map(|net| net.prefix_len()));
    environment.add_filter("ip_host", ip_host);
    environment.add_filter("netmask", netmask);
    environment.add_filter("prefix", prefix);
    environment.add_filter("mac", mac);
    let salts = Arc::clone(salts);
    environment.add_filter("sha512_crypt", move |text: &str| sha512_crypt(text, &salts));
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("string", tests::is_string);
    environment.add_test("number", tests::is_number);
    environment.add_function("range", functions::range);
}

fn bounded(text: String) -> Result<String, Error> {
    if text.len() > RENDERED_BYTES_MAX { Err(refusal("a value becomes too large")) } else { Ok(text) }
}

fn join(values: &Value, separator: Option<&str>) -> Result<String, Error> {
    let items = values.try_iter().map_err(|_| refusal("`join` takes a list"))?;
    let mut text = String::new();
    for (at, item) in items.enumerate() {
        let item =
            item.as_str().map(str::to_owned).or_else(|| item.as_i64().map(|number| number.to_string()));
        let item = item.ok_or_else(|| refusal("`join` takes a list of texts and numbers"))?;
        if at > 0 {
            text.push_str(separator.unwrap_or_default());
        }
        text.push_str(&item);
        text = bounded(text)?;
    }
    Ok(text)
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let count = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    if text.len().saturating_add(count.saturating_mul(to.len())) > 2 * RENDERED_BYTES_MAX {
        return Err(refusal("a value becomes too large"));
    }
    bounded(text.replace(from, to))
}

fn address(text: &str) -> Result<Ipv4Addr, Error> {
    text.trim().parse().map_err(|_| refusal("the value is not an IPv4 address such as 10.0.0.11"))
}

/// `10.0.0.11/24` or `10.0.0.11/255.255.255.0`.
fn interface(text: &str) -> Result<Ipv4Net, Error> {
    let wrong = || refusal("the value is not an address with its prefix, such as 10.0.0.11/24");
    let (host, length) = text.trim().split_once('/').ok_or_else(wrong)?;
    let length = match length.parse::<u8>() {
        Ok(length) => length,
        Err(_) => prefix(length)?,
    };
    Ipv4Net::new(address(host)?, length).map_err(|_| wrong())
}

/// The address that comes so many after this one, within the same prefix if there is one.
fn ip_add(text: &str, by: i64) -> Result<String, Error> {
    let (host, rest) = text.split_once('/').map_or((text, None), |(host, rest)| (host, Some(rest)));
    let sum = i64::from(u32::from(address(host)?)).checked_add(by).and_then(|sum| u32::try_from(sum).ok());
    let sum = Ipv4Addr::from(sum.ok_or_else(|| refusal("the sum is not an IPv4 address"))?);
    if let Some(rest) = rest {
        let net = interface(text)?;
        if !net.contains(&sum) {
            return Err(refusal("the sum lies outside of the network"));
        }
        return Ok(format!("{sum}/{rest}"));
    }
    Ok(sum.to_string())
}

/// Host number `number` of the network; negative ones count from its end.
fn ip_host(text: &str, number: i64) -> Result<String, Error> {
    let net = interface(text)?;
    let base = if number < 0 { net.broadcast() } else { net.network() };
    let host = i64::from(u32::from(base)).checked_add(number).and_then(|sum| u32::try_from(sum).ok());
    let host = host.map(Ipv4Addr::from).filter(|host| {
        net.contains(host) && (net.prefix_len() > 30 || (*host != net.network() && *host != net.broadcast()))
    });
    host.map(|host| host.to_string()).ok_or_else(|| refusal("the network has no host of this number"))
}

fn netmask(length: u8) -> Result<String, Error> {
    let net = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, length);
    net.map(|net| net.netmask().to_string()).map_err(|_| refusal("a prefix length is a number from 0 to 32"))
}

fn prefix(mask: &str) -> Result<u8, Error> {
    ipnet::ipv4_mask_to_prefix(address(mask)?).map_err(|_| refusal("the value is not a netmask"))
}

/// A MAC address in lower case, its pairs joined by `:` or by `separator`.
fn mac(text: &str, separator: Option<&str>) -> Result<String, Error> {
    let digits: String = text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refusal("the value is not a MAC address"));
    }
    let digits = digits.to_ascii_lowercase();
    let pairs: Vec<&str> = (0..6).map(|at| &digits[2 * at..2 * at + 2]).collect();
    match separator.unwrap_or(":") {
        separator @ (":" | "-" | "") => Ok(pairs.join(separator)),
        "." => Ok([&digits[..4], &digits[4..8], &digits[8..]].join(".")),
        _ => Err(refusal("`mac` takes ':', '-', '.' or ''")),
    }
}

/// A hash for `rootpw --iscrypted`. The installer refuses hashes that state their rounds; without a
/// statement the rounds are 5,000.
fn sha512_crypt(password: &str, salts: &Salts) -> Result<String, Error> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(refusal(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes")));
    }
    let salt =
        salts.draw().ok_or_else(|| refusal(format!("at most {PASSWORDS_MAX} passwords are hashed")))?;
    let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, Params::RECOMMENDED);
    let hash = hasher.hash_password_with_salt(password.as_bytes(), &salt);
    let hash = hash.map_err(|_| refusal("the password cannot be hashed"))?;
    Ok(hash.as_str().replacen("rounds=5000$", "", 1))
}

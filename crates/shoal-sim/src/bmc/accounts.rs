//! The accounts of a BMC: names, passwords, roles.
//!
//! Changes arrive as request bodies and are refused as such; what is shown of an account is in
//! `redfish::accounts`. Invariant: the account that the machine was started with stays an
//! administrator and cannot be deleted, so the machine cannot be locked away from its tests.

use std::collections::BTreeMap;

use super::super::body::{self, Object};
use super::super::message::{Message, Refusal};

const ACCOUNTS_MAX: usize = 16;
/// Characters of a password.
pub const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 8..=64;
/// The id of the account that the machine was started with.
const FIRST: &str = "1";

/// The roles, and what each may do.
pub const ROLES: [(&str, &[&str]); 3] = [
    (
        "Administrator",
        &["Login", "ConfigureManager", "ConfigureUsers", "ConfigureSelf", "ConfigureComponents"],
    ),
    ("Operator", &["Login", "ConfigureSelf", "ConfigureComponents"]),
    ("ReadOnly", &["Login", "ConfigureSelf"]),
];

pub struct Accounts {
    known: BTreeMap<String, Account>,
    made: u64,
}

pub struct Account {
    pub id: String,
    pub user: String,
    password: String,
    pub role: String,
    pub enabled: bool,
    pub must_change: bool,
}

impl Accounts {
    pub fn new(user: &str, password: &str) -> Accounts {
        let first = Account {
            id: FIRST.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            role: "Administrator".to_owned(),
            enabled: true,
            must_change: false,
        };
        Accounts { known: BTreeMap::from([(FIRST.to_owned(), first)]), made: 1 }
    }

    /// The id of the account that these credentials open.
    pub fn check(&self, user: &str, password: &str) -> Option<String> {
        self.of(user).filter(|account| account.enabled && account.password == password).map(|a| a.id.clone())
    }

    pub fn of(&self, user: &str) -> Option<&Account> {
        self.known.values().find(|account| account.user == user)
    }

    pub fn must_change_password(&self, id: &str) -> bool {
        self.known.get(id).is_some_and(|account| account.must_change)
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    pub fn get(&self, id: &str) -> Option<&Account> {
        self.known.get(id)
    }

    /// Creates an account; its id.
    pub fn create(&mut self, body: &Object) -> Result<String, Refusal> {
        const PROPERTIES: [&str; 5] = ["UserName", "Password", "RoleId", "Enabled", "PasswordChangeRequired"];
        if let Some(message) = body::unknown(body, &PROPERTIES, &[]).pop() {
            return Err(message);
        }
        let user = body::required_text(body, "UserName")?;
        let account = Account {
            id: (self.made + 1).to_string(),
            user: user.to_owned(),
            password: check_password(body::required_text(body, "Password")?)?,
            role: check_role(body::required_text(body, "RoleId")?)?,
            enabled: body::flag(body, "Enabled")?.unwrap_or(true),
            must_change: body::flag(body, "PasswordChangeRequired")?.unwrap_or(false),
        };
        if user.is_empty() {
            return Err(Message::property_value("UserName", user));
        }
        if self.of(user).is_some() {
            return Err(Message::exists("ManagerAccount", "UserName", user));
        }
        if self.known.len() >= ACCOUNTS_MAX {
            return Err(Message::in_use());
        }
        self.made += 1;
        let id = account.id.clone();
        self.known.insert(id.clone(), account);
        Ok(id)
    }

    /// Whether there was one.
    pub fn remove(&mut self, id: &str) -> Result<bool, Refusal> {
        if id == FIRST { Err(Message::cannot_be_deleted()) } else { Ok(self.known.remove(id).is_some()) }
    }

    pub fn patch(&mut self, id: &str, body: Object) -> Result<Vec<Refusal>, Refusal> {
        const WRITABLE: [&str; 5] = ["UserName", "Password", "RoleId", "Enabled", "PasswordChangeRequired"];
        let mut unknown = body::unknown(&body, &WRITABLE, &["Id", "Name", "Links", "Locked", "AccountTypes"]);
        if unknown.len() == body.len() {
            return Err(unknown.pop().unwrap_or_else(Message::no_operation));
        }
        let user = body::text(&body, "UserName")?.map(str::to_owned);
        let password = body::text(&body, "Password")?.map(check_password).transpose()?;
        let role = body::text(&body, "RoleId")?.map(check_role).transpose()?;
        let (enabled, must_change) =
            (body::flag(&body, "Enabled")?, body::flag(&body, "PasswordChangeRequired")?);
        if let Some(user) = user.as_deref().filter(|user| self.of(user).is_some_and(|other| other.id != id)) {
            return Err(Message::exists("ManagerAccount", "UserName", user));
        }
        let account = self.known.get_mut(id).ok_or_else(|| Message::missing(id))?;
        account.must_change = must_change.unwrap_or(account.must_change && password.is_none());
        account.user = user.unwrap_or_else(|| std::mem::take(&mut account.user));
        account.password = password.unwrap_or_else(|| std::mem::take(&mut account.password));
        if id != FIRST {
            account.role = role.unwrap_or_else(|| std::mem::take(&mut account.role));
            account.enabled = enabled.unwrap_or(account.enabled);
        }
        Ok(unknown)
    }
}

fn check_password(password: &str) -> Result<String, Refusal> {
    if PASSWORD_LEN.contains(&password.chars().count()) {
        Ok(password.to_owned())
    } else {
        Err(Message::property_value("Password", "********"))
    }
}

fn check_role(role: &str) -> Result<String, Refusal> {
    let known = ROLES.iter().any(|(name, _)| *name == role);
    if known { Ok(role.to_owned()) } else { Err(Message::property_value("RoleId", role)) }
}

//! AccountService: accounts, and the three roles of the standard.
//!
//! Invariant: the account that the machine was started with stays an administrator and cannot be
//! deleted, so the machine cannot be locked away from its tests.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::body::{self, Object};
use super::message::Message;
use super::resource::Resource;
use super::{Caller, Refusal, Reply, represent};

const ACCOUNTS_MAX: usize = 16;
/// Characters.
const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 8..=64;
const FIRST: &str = "1";

/// The roles, and what each may do.
const ROLES: [(&str, &[&str]); 3] = [
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
    user: String,
    password: String,
    pub role: String,
    enabled: bool,
    must_change: bool,
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

pub fn render_roles() -> Value {
    let members: Vec<Value> = ROLES
        .iter()
        .map(|(name, _)| json!({ "@odata.id": format!("/redfish/v1/AccountService/Roles/{name}") }))
        .collect();
    json!({
        "@odata.id": "/redfish/v1/AccountService/Roles",
        "@odata.type": "#RoleCollection.RoleCollection",
        "Name": "Roles",
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

pub fn render_role(id: &str) -> Option<Value> {
    let (name, privileges) = ROLES.iter().find(|(name, _)| *name == id)?;
    Some(json!({
        "@odata.id": format!("/redfish/v1/AccountService/Roles/{name}"),
        "@odata.type": "#Role.v1_3_2.Role",
        "Id": name,
        "Name": format!("{name} Role"),
        "RoleId": name,
        "IsPredefined": true,
        "AssignedPrivileges": privileges,
        "OemPrivileges": [],
    }))
}

impl Bmc {
    pub fn render_account_service(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::AccountService),
            "@odata.type": "#AccountService.v1_15_1.AccountService",
            "Id": "AccountService",
            "Name": "Account Service",
            "ServiceEnabled": true,
            "HTTPBasicAuth": "Enabled",
            "MinPasswordLength": PASSWORD_LEN.start(),
            "MaxPasswordLength": PASSWORD_LEN.end(),
            "AccountLockoutThreshold": 0,
            "AccountLockoutDuration": 0,
            "Accounts": self.link(&Resource::Accounts),
            "Roles": self.link(&Resource::Roles),
        })
    }

    /// All accounts for an administrator, else the caller's own.
    pub fn render_accounts(&self, caller: Option<&Caller>) -> Value {
        let sees = |id: &String| caller.is_none_or(|caller| caller.is_administrator || caller.account == *id);
        let members: Vec<_> =
            self.accounts.known.keys().filter(|id| sees(id)).cloned().map(Resource::Account).collect();
        self.collection(&Resource::Accounts, "ManagerAccountCollection", "Accounts", &members)
    }

    pub fn render_account(&self, id: &str) -> Option<Value> {
        let account = self.accounts.known.get(id)?;
        Some(json!({
            "@odata.id": self.path(&Resource::Account(id.to_owned())),
            "@odata.type": "#ManagerAccount.v1_12_1.ManagerAccount",
            "Id": account.id,
            "Name": "User Account",
            "UserName": account.user,
            "Password": null,
            "RoleId": account.role,
            "Enabled": account.enabled,
            "Locked": false,
            "PasswordChangeRequired": account.must_change,
            "AccountTypes": ["Redfish"],
            "Links": { "Role": { "@odata.id": format!("/redfish/v1/AccountService/Roles/{}", account.role) } },
        }))
    }

    pub fn create_account(&mut self, body: &Object) -> Result<Reply, Refusal> {
        const PROPERTIES: [&str; 5] = ["UserName", "Password", "RoleId", "Enabled", "PasswordChangeRequired"];
        if let Some(message) = body::unknown(body, &PROPERTIES, &[]).pop() {
            return Err(message);
        }
        let user = body::required_text(body, "UserName")?;
        let account = Account {
            id: (self.accounts.made + 1).to_string(),
            user: user.to_owned(),
            password: check_password(body::required_text(body, "Password")?)?,
            role: check_role(body::required_text(body, "RoleId")?)?,
            enabled: body::flag(body, "Enabled")?.unwrap_or(true),
            must_change: body::flag(body, "PasswordChangeRequired")?.unwrap_or(false),
        };
        if user.is_empty() {
            return Err(Message::property_value("UserName", user));
        }
        if self.accounts.of(user).is_some() {
            return Err(Message::exists("ManagerAccount", "UserName", user));
        }
        if self.accounts.known.len() >= ACCOUNTS_MAX {
            return Err(Message::in_use());
        }
        self.accounts.made += 1;
        let id = account.id.clone();
        self.accounts.known.insert(id.clone(), account);
        let resource = Resource::Account(id.clone());
        let made = self.render_account(&id).ok_or_else(Message::internal)?;
        Ok(represent(StatusCode::CREATED, &resource, made).with(LOCATION, self.path(&resource)))
    }
}
